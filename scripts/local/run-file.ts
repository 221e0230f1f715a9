import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CommandError } from '../terminal.ts'
import { beganAt } from './processes.ts'

interface Noted {
  name: string
  pid: number
  /** Of the process with this id that we mean. */
  began: string
}

export interface RunFile {
  note(name: string, pid: number): Promise<void>
  remove(): Promise<void>
}

const fileIn = (dir: string) => join(dir, 'processes.json')
const OWNER = 'npm start'

async function alive(dir: string): Promise<Noted[]> {
  const text = await readFile(fileIn(dir), 'utf8').catch(() => '[]')
  let noted: unknown
  try {
    noted = JSON.parse(text)
  } catch {
    return []
  }
  const found: Noted[] = []
  for (const one of Array.isArray(noted) ? (noted as Noted[]) : []) if (one?.began && (await beganAt(one.pid)) === one.began) found.push(one)
  return found
}

/**
 * Ends the services that an earlier run in this folder left behind when it was killed: processes that it noted, and no later ones with
 * their ids.
 * @returns what was ended, e.g. `order (pid 123)`
 * @throws CommandError when that run still goes on
 */
export async function endOrphans(dir: string): Promise<string[]> {
  const left = await alive(dir)
  const owner = left.find(({ name }) => name === OWNER)
  if (owner)
    throw new CommandError(`fairlead start runs in ${dir} already, with pid ${owner.pid}: stop it, or give this one --data-dir and --port-offset`)
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const { pid } of await alive(dir)) end(pid, signal)
    const endsAt = performance.now() + 10_000
    while (performance.now() < endsAt && (await alive(dir)).length > 0) await sleep(50)
  }
  return left.map(({ name, pid }) => `${name} (pid ${pid})`)
}

function end(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // It has ended by itself meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Notes this process, and what it starts, for `endOrphans` of a later run. */
export async function openRunFile(dir: string): Promise<RunFile> {
  const noted: Noted[] = []
  const note = async (name: string, pid: number) => {
    const began = await beganAt(pid)
    if (began) noted.push({ name, pid, began })
    // Renamed when it is whole, so that a kill leaves one that can be read.
    await writeFile(`${fileIn(dir)}.part`, JSON.stringify(noted))
    await rename(`${fileIn(dir)}.part`, fileIn(dir))
  }
  await note(OWNER, process.pid)
  return { note, remove: () => rm(fileIn(dir), { force: true }) }
}
