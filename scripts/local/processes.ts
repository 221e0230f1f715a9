import { execFile } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const isLinux = process.platform === 'linux'
const printed = (program: string, args: string[]) =>
  run(program, args, { timeout: 5_000 }).then(
    ({ stdout }) => stdout,
    () => '',
  )

/** When a process began, in words that no later process with the same id has; undefined when there is none. */
export async function beganAt(pid: number): Promise<string | undefined> {
  if (!isLinux) return (await printed('ps', ['-o', 'lstart=', '-p', String(pid)])).trim() || undefined
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // proc(5): the program's name is in parentheses and may hold anything; field 3 is the state, field 22 the start in ticks since boot.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === '' || fields[0] === 'Z' ? undefined : fields[19]
}

export interface Holder {
  pid: number
  /** Its command line, shortened. */
  program: string
}

/** Who listens on a TCP port of this machine; undefined when that is nobody whom we may see. */
export async function holderOf(port: number): Promise<Holder | undefined> {
  const pid = isLinux ? await listenerOnLinux(port) : Number((await printed('lsof', ['-nP', '-t', `-iTCP:${port}`, '-sTCP:LISTEN'])).split('\n')[0])
  if (!pid) return undefined
  const line = isLinux
    ? (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ')
    : await printed('ps', ['-o', 'args=', '-p', String(pid)])
  return { pid, program: line.trim().slice(0, 120) }
}

/** proc_pid_net(5): the local address in hexadecimal, the state (0A listens) and the socket's inode; which process has that open. */
async function listenerOnLinux(port: number): Promise<number | undefined> {
  const inodes = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'utf8').catch(() => '')
    for (const row of text.split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode = ''] = row.trim().split(/\s+/)
      if (state === '0A' && Number.parseInt(local.split(':')[1] ?? '', 16) === port) inodes.add(`socket:[${inode}]`)
    }
  }
  for (const pid of inodes.size > 0 ? (await readdir('/proc')).filter(name => /^\d+$/.test(name)) : []) {
    const files = await readdir(`/proc/${pid}/fd`).catch(() => [])
    for (const file of files) if (inodes.has(await readlink(`/proc/${pid}/fd/${file}`).catch(() => ''))) return Number(pid)
  }
  return undefined
}
