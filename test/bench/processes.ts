import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { CommandError } from '../../scripts/terminal.ts'
import type { Answered, Arrivals } from './arrivals.ts'
import type { LoadOptions, LoadResult } from './load.ts'

export interface Server {
  name: string
  pid: number
  url: string
  /** Where it says that it is ready. */
  readyUrl: string
  /** From its start until it did, in milliseconds. */
  readyMs: number
  stop(): Promise<unknown>
}

export interface ServerOptions {
  name: string
  /** Arguments of node. */
  args: string[]
  env: Record<string, string>
  port: number
  /** Answers 200 as soon as the server is ready. */
  readyUrl: string
  logFile: string
}

/** Starts a server in a process of its own and waits until it answers. It writes its log as a service of ours does. */
export async function startServer({ name, args, env, port, readyUrl, logFile }: ServerOptions): Promise<Server> {
  const startedAt = performance.now()
  const log = openSync(logFile, 'a')
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    env: { PATH: process.env.PATH, ...env, PORT: String(port) },
    detached: true,
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  const ended = endOf(child)
  const server: Server = {
    name,
    pid: child.pid as number,
    url: `http://127.0.0.1:${port}`,
    readyUrl,
    readyMs: Number.NaN,
    stop: async () => {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await ended
      clearTimeout(timer)
    },
  }
  const endsAt = performance.now() + 20_000
  while (performance.now() < endsAt && child.exitCode === null) {
    const answer = await fetch(readyUrl, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) return { ...server, readyMs: performance.now() - startedAt }
    await sleep(5)
  }
  await server.stop()
  throw new CommandError(`${name} did not get ready: ${readFileSync(logFile, 'utf8').trim().split('\n').slice(-5).join('\n')}`)
}

const endOf = (child: ChildProcess) => new Promise<number | string>(resolve => child.once('exit', (code, signal) => resolve(signal ?? code ?? 1)))

export interface Generator {
  /** Closed loop: each connection asks again once it is answered. */
  run(options: LoadOptions): Promise<LoadResult>
  /** Open loop: requests are sent when they are due. */
  arrive(arrivals: Arrivals): Promise<Answered>
  stop(): Promise<unknown>
}

/** Starts the load generator. */
export function startGenerator(): Generator {
  const program = fileURLToPath(new URL('./load.ts', import.meta.url))
  // A group of its own: Ctrl-C reaches this process alone, which then stops all others.
  const child = fork(program, { detached: true, serialization: 'advanced', execArgv: ['--disable-warning=ExperimentalWarning'] })
  const ended = endOf(child)
  const ask = async <T>(question: LoadOptions | Arrivals): Promise<T> => {
    child.send(question)
    const result = await Promise.race([once(child, 'message'), ended.then(code => [{ error: `the load generator ended with ${code}` }])])
    const [answer] = result as [T | { error: string }]
    if (typeof answer === 'object' && answer !== null && 'error' in answer) throw new CommandError(answer.error)
    return answer as T
  }
  return {
    run: options => ask<LoadResult>(options),
    arrive: arrivals => ask<Answered>(arrivals),
    stop: async () => {
      child.kill()
      await ended
    },
  }
}

/**
 * What a program prints.
 * @throws Error with its exit code and what it wrote to standard error
 */
export async function output(
  command: string,
  args: string[],
  { signal, env = process.env }: { signal: AbortSignal; env?: NodeJS.ProcessEnv },
): Promise<string> {
  const child = spawn(command, args, { env, signal, stdio: ['ignore', 'pipe', 'pipe'] })
  const failed = new Promise<never>((_, reject) => child.once('error', reject))
  const [printed, errors, code] = await Promise.race([Promise.all([text(child.stdout), text(child.stderr), endOf(child)]), failed])
  if (code !== 0) throw new CommandError(`${command} ${args.at(-1)} ended with ${code}: ${errors.trim().split('\n').slice(0, 5).join('\n')}`)
  return printed
}
