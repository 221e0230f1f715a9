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
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  if (status !== 0) {
    process.stderr.write('npm ci failed; see above\n')
    process.exit(1)
  }
}
