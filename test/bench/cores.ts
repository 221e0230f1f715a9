import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** Two cores that this process may use, when they can be told apart. */
export interface Cores {
  server: number
  load: number
}

/** undefined without taskset (other systems than Linux) or a second core: then everything runs where the system puts it. */
export function findCores(): Cores | undefined {
  try {
    const list = execFileSync('taskset', ['-cp', String(process.pid)], { encoding: 'utf8' })
      .trim()
      .split(': ')
      .at(-1) as string
    const [server, load] = list.split(',').flatMap(part => {
      const [first, last = first] = part.split('-').map(Number) as [number, number?]
      return Array.from({ length: (last as number) - first + 1 }, (_, i) => first + i)
    })
    return server === undefined || load === undefined ? undefined : { server, load }
  } catch {
    return undefined
  }
}

/** Moves this thread; a child process starts where its parent's thread is. */
export function moveTo(core: number | undefined): void {
  if (core !== undefined) execFileSync('taskset', ['-cp', String(core), String(process.pid)], { stdio: 'ignore' })
}

/** @throws Error when a process may run elsewhere: what it measures would then be something else */
export function expectOn(core: number | undefined, pid: number): void {
  if (core === undefined) return
  const allowed = /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  if (allowed !== String(core)) throw new Error(`process ${pid} is on core ${allowed} instead of ${core}`)
}

/** What the threads of a process have used of the processor so far, in seconds, where /proc tells it. */
export function cpuSeconds(pid: number): number | undefined {
  try {
    let nanoseconds = 0
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ', 1)[0])
    }
    return nanoseconds / 1e9
  } catch {
    return undefined
  }
}

/** Resident memory in MiB. */
export function residentMiB(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024
  } catch {
    return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1_024
  }
}
