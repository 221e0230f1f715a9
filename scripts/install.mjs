// Runs before `npm start` and `npm test` on whatever Node.js is there, so it is plain JavaScript: installs what the lockfile names
// unless that is installed already.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

const root = new URL('..', import.meta.url)
const has = path => existsSync(new URL(path, root))
const read = path => (has(path) ? JSON.parse(readFileSync(new URL(path, root), 'utf8')) : undefined)

/** Whether a package is one for this platform. Those that name none, e.g. of WebAssembly, come and go with others. */
function isOfThisMachine({ os, cpu, libc }) {
  const names = (list, own) => list === undefined || [list].flat().includes(own)
  return os !== undefined && names(os, process.platform) && names(cpu, process.arch) && (libc === undefined || [libc].flat().includes(libcOf()))
}

function libcOf() {
  if (process.platform !== 'linux') return undefined
  process.report.excludeNetwork = true
  return process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl'
}

/**
 * Whether every package that the lockfile names for this machine is there in that version, by npm's own list and on the disk: an
 * installation that was interrupted leaves either without the other.
 */
function isInstalled() {
  const wanted = Object.entries(read('package-lock.json')?.packages ?? {}).filter(([path]) => path !== '')
  const present = read('node_modules/.package-lock.json')?.packages
  if (!present) return false
  const isThere = ([path, { version, optional, ...machines }]) =>
    present[path] ? present[path].version === version && has(`${path}/package.json`) : optional && !isOfThisMachine(machines)
  const bringsNode = ([path, { bin }]) => bin?.node !== undefined && present[path]
  return wanted.every(isThere) && (!wanted.some(bringsNode) || has('node_modules/.bin/node'))
}

if (!isInstalled()) {
  process.stderr.write('installing what package-lock.json names (once)\n')
  // Not `npm ci`: it refuses a lockfile that lacks another platform's optional packages, which not every registry has.
  const args = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  const { status } = spawnSync('npm', args, { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
  if (status !== 0) {
    process.stderr.write('npm install failed; see above\n')
    process.exit(1)
  }
}

/** argon2 in node:crypto came with 24.7. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (!has('node_modules/.bin/node') && (major < 24 || (major === 24 && minor < 7))) {
  process.stderr.write(
    `Node.js ${process.versions.node} is too old, and npm has no newer one for ${process.platform} on ${process.arch}: install Node.js 24.7 or newer\n`,
  )
  process.exit(1)
}
