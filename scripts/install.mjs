// Runs before `npm start` and `npm test` on whatever Node.js is there, so it is plain JavaScript: installs what the lockfile names
// unless that is installed already.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

const root = new URL('..', import.meta.url)
const read = path => (existsSync(new URL(path, root)) ? JSON.parse(readFileSync(new URL(path, root), 'utf8')) : undefined)

/** Whether every package that the lockfile names for any platform is there in that version, optional ones only where present. */
function isInstalled() {
  const wanted = read('package-lock.json')?.packages ?? {}
  const present = read('node_modules/.package-lock.json')?.packages
  if (!present) return false
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || present[path]?.version === version || (optional && !present[path]),
  )
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
if (!existsSync(new URL('node_modules/.bin/node', root)) && (major < 24 || (major === 24 && minor < 7))) {
  process.stderr.write(
    `Node.js ${process.versions.node} is too old, and npm has no newer one for ${process.platform} on ${process.arch}: install Node.js 24.7 or newer\n`,
  )
  process.exit(1)
}
