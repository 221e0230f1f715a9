#!/usr/bin/env node
// Plain JavaScript, because whatever Node.js is there runs it: hands over to the fairlead of the project and to a Node.js that can run it.
import { spawn } from 'node:child_process'
import { existsSync, realpathSync } from 'node:fs'
import module, { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const OLDEST = [24, 7]
const own = realpathSync(fileURLToPath(import.meta.url))
const args = process.argv.slice(2)

/** Looks where Node.js would look for a package of a file's, the nearest folder first. */
const foundFrom = (file, path) =>
  createRequire(file)
    .resolve.paths('fairlead')
    ?.map(folder => join(folder, path))
    .find(existsSync)
const project = join(process.cwd(), 'package.json')

const installed = foundFrom(project, 'fairlead/fairlead.mjs')
const program = installed === undefined ? own : realpathSync(installed)
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const isOld = major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])

if (!isOld && program === own) {
  // Types are stripped by Node.js, which called that experimental until 24.12.
  const { emitWarning } = process
  process.emitWarning = (warning, ...rest) => {
    if (![rest[0], rest[0]?.type].includes('ExperimentalWarning')) emitWarning.call(process, warning, ...rest)
  }
  // Beside the code that it is of, not in a folder that others may write. A folder that cannot be written is no error.
  if (installed !== undefined) module.enableCompileCache?.(join(dirname(installed), '../.cache/fairlead'))
  const { main } = await import('#cli')
  await main(args)
} else handOver(isOld ? (foundFrom(project, '.bin/node') ?? foundFrom(own, '.bin/node')) : process.execPath)

/** Runs the program in a process of its own, which gets our signals and whose end is ours. */
function handOver(node) {
  if (node === undefined) {
    process.stderr.write(
      `error: Node.js ${process.versions.node} is too old: fairlead needs ${OLDEST.join('.')} or newer, e.g. from npm install node-${process.platform}-${process.arch}@24\n`,
    )
    process.exitCode = 1
    return
  }
  const child = spawn(node, [program, ...args], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.once('error', error => {
    process.stderr.write(`error: ${node} cannot be run: ${error.message}\n`)
    process.exitCode = 1
  })
  child.once('exit', (code, signal) => {
    if (signal === null) process.exitCode = code
    else {
      process.removeAllListeners(signal)
      process.kill(process.pid, signal)
    }
  })
}
