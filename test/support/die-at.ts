import { subscribe } from 'node:diagnostics_channel'
import { readFileSync, rmSync } from 'node:fs'

/**
 * Preloaded by a test (`node --import`): kills the process the first time that the saga or the outbox passes the step named in the file DIE_AT.
 * A file, so that a running process can be armed; it is removed before the end, so that the next process lives.
 */
const file = process.env.DIE_AT as string

const armed = () => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

for (const channel of ['fairlead.saga', 'fairlead.outbox'])
  subscribe(channel, step => {
    if (armed() !== step) return
    rmSync(file)
    process.kill(process.pid, 'SIGKILL')
  })
