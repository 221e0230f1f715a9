import { readdirSync, readFileSync } from 'node:fs'

/** A process and its children, as Linux's /proc knows them. */
export function processTree(pid: number): number[] {
  const children = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .filter(name => parentOf(Number(name)) === pid)
    .map(Number)
  return [pid, ...children.flatMap(processTree)]
}

function parentOf(pid: number): number | undefined {
  try {
    // The second field is the program's name in parentheses and may hold anything.
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1])
  } catch {
    return undefined
  }
}

/** Processes with this text, e.g. the folder that they work in, in their command line or environment. */
export function processesOf(text: string): number[] {
  const has = (pid: string, file: string) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'utf8').includes(text)
    } catch {
      return false
    }
  }
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && (has(name, 'cmdline') || has(name, 'environ')))
    .map(Number)
}

export function signalAll(pids: number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // It has ended meanwhile.
    }
  }
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
