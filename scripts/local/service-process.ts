import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { open, readFile } from 'node:fs/promises'
import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { pause } from '../pause.ts'
import { CommandError } from '../terminal.ts'
import { whyEnded } from './why-ended.ts'

export interface LocalPorts {
  port: number
  adminPort: number
  /** Of a service that is served by gRPC. */
  grpcPort?: number
}

/** A service as a program of this machine. */
interface ServiceProgram {
  name: string
  /** Path of its main.ts. */
  main: string
  env: Record<string, string>
  ports: LocalPorts
  logFile: string
}

interface Watch {
  /** Ends what is under way. */
  signal: AbortSignal
  /** Told of the process as soon as it is there. */
  onSpawn: (name: string, pid: number) => Promise<void>
}

export interface StartOptions {
  env?: Record<string, string>
  /** Flags for node, before the program. */
  nodeFlags?: string[]
  /** @default 15000 */
  readyTimeoutMs?: number
}

export interface ServiceProcess {
  readonly child: ChildProcess
  readonly url: string
  readonly adminUrl: string
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>
  /** SIGTERM, and SIGKILL after `timeoutMs`. @default 15000 */
  stop(timeoutMs?: number): Promise<number | string>
}

const NODE_FLAGS = ['--disable-warning=ExperimentalWarning']

/** Where this process keeps compiled code, each version of Node.js in a folder of its own: what it starts is there in half the time. */
function keptCode(): Record<string, string> {
  const ofThisVersion = getCompileCacheDir()
  return ofThisVersion === undefined ? {} : { NODE_COMPILE_CACHE: dirname(ofThisVersion) }
}

/** Brings the tables of a service up to date, by its own program. */
export async function migrate({ name, main, env }: Pick<ServiceProgram, 'name' | 'main' | 'env'>, signal: AbortSignal): Promise<void> {
  try {
    await promisify(execFile)(process.execPath, [...NODE_FLAGS, main, 'migrate'], { env: { ...keptCode(), ...env }, signal, timeout: 60_000 })
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as Error & { stdout?: string; stderr?: string }
    throw new CommandError(`migrating ${name} failed: ${whyEnded(stdout + stderr) || message}`)
  }
}

/** Starts a service as a process of its own and waits until it is ready. */
export async function startProcess(
  { name, main, env: base, ports: { port, adminPort }, logFile }: ServiceProgram,
  { env = {}, nodeFlags = [], readyTimeoutMs = 15_000, signal, onSpawn }: StartOptions & Watch,
): Promise<ServiceProcess> {
  const log = await open(logFile, 'a', 0o600)
  const logStart = (await log.stat()).size
  // A process group of its own: Ctrl-C reaches the parent alone, which then stops the services in order.
  const child = spawn(process.execPath, [...NODE_FLAGS, ...nodeFlags, main], {
    env: { ...keptCode(), ...base, ...env },
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  })
  // At once: Ctrl-C can end it before it has left our process group, and an end that nobody listens for is waited for in vain.
  const ended = new Promise<number | string>(resolve => child.once('exit', (code, signal) => resolve(signal ?? code ?? 1)))
  await log.close()
  const running: ServiceProcess = {
    child,
    url: `http://127.0.0.1:${port}`,
    adminUrl: `http://127.0.0.1:${adminPort}`,
    ended,
    stop: async (timeoutMs = 15_000) => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
      try {
        return await ended
      } finally {
        clearTimeout(timer)
      }
    },
  }
  try {
    await onSpawn(name, child.pid as number)
    await waitUntilReady(running, name, {
      timeoutMs: readyTimeoutMs,
      signal,
      newLog: async () => (await readFile(logFile, 'utf8')).slice(logStart),
    })
  } catch (error) {
    await running.stop()
    throw error
  }
  return running
}

interface Readiness {
  timeoutMs: number
  signal: AbortSignal
  newLog: () => Promise<string>
}

async function waitUntilReady({ adminUrl, child }: ServiceProcess, name: string, { timeoutMs, signal, newLog }: Readiness): Promise<void> {
  const endsAt = performance.now() + timeoutMs
  let last = 'no answer yet'
  while (performance.now() < endsAt) {
    signal.throwIfAborted()
    if (child.exitCode !== null || child.signalCode !== null)
      throw new CommandError(`${name} ended with ${child.signalCode ?? child.exitCode}: ${whyEnded(await newLog())}`)
    try {
      const answer = await fetch(`${adminUrl}/readyz`, { signal: AbortSignal.timeout(1_000) })
      if (answer.ok) return
      last = `not ready: ${(await answer.text()).trim()}`
    } catch (error) {
      last = ((error as Error).cause as Error | undefined)?.message ?? (error as Error).message
    }
    await pause(25, signal)
  }
  throw new CommandError(`${name} was not ready after ${timeoutMs} ms; last seen: ${last}`)
}
