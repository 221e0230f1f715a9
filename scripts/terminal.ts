import { styleText } from 'node:util'
import { unlessAborted } from '@fairlead/chassis'
import { linesOf, type Remedy } from './remedy.ts'

/** A failure that people can do something about: one line, and what to do. */
export class CommandError extends Error {
  override name = 'CommandError'
  readonly remedy: Remedy
  constructor(message: string, remedy: Remedy = {}) {
    super(message)
    this.remedy = remedy
  }
}

/** A mistake in how a command was called: one line, exit code 2. */
export const usageError = (message: string, remedy?: Remedy) => Object.assign(new CommandError(message, remedy), { exitCode: 2 })

const stream = process.stderr

export const say = (text: string): void => {
  stream.write(`${text}\n`)
}

export const dim = (text: string): string => styleText('dim', text, { stream })
export const green = (text: string): string => styleText('green', text, { stream })
export const red = (text: string): string => styleText('red', text, { stream })
export const yellow = (text: string): string => styleText('yellow', text, { stream })

/** Text of others without what a terminal would obey: C0 and C1 control characters but line breaks and tabs. */
export const printable = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd')

export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`

const LOGGED_CHARACTERS = 300

/**
 * Shows one line that changes while something is waited for: rewritten on a terminal, else printed when what it is about changed.
 * @param about what that is @default the text
 */
export function liveLine(): { show(text: string, about?: string): void; clear(): void } {
  let last = ''
  return {
    show: (text, about = text) => {
      const key = stream.isTTY ? text : about
      if (key === last) return
      last = key
      if (stream.isTTY) stream.write(`\r\u001b[2K${text.slice(0, (stream.columns ?? 120) - 1)}`)
      else stream.write(`${text.length > LOGGED_CHARACTERS ? `${text.slice(0, LOGGED_CHARACTERS - 3)}...` : text}\n`)
    },
    clear: () => {
      if (stream.isTTY && last) stream.write('\r\u001b[2K')
      last = ''
    },
  }
}

export interface Step {
  title: string
  ms: number
}

/**
 * Runs steps one after the other and says how long each took.
 * @param signal ends the wait for a step at once: only for steps that leave nothing to put in order
 */
export function createSteps(signal?: AbortSignal): {
  done: Step[]
  step<T>(title: string, work: () => Promise<T>, describe?: (result: T) => string): Promise<T>
} {
  const done: Step[] = []
  return {
    done,
    step: async (title, work, describe) => {
      signal?.throwIfAborted()
      const startedAt = performance.now()
      const line = liveLine()
      if (stream.isTTY) line.show(`  ${title} ...`)
      try {
        const result = await (signal ? unlessAborted(signal, work()) : work())
        const ms = Math.round(performance.now() - startedAt)
        done.push({ title, ms })
        line.clear()
        const detail = describe?.(result)
        say(`${green('✓')} ${title}${detail ? `: ${detail}` : ''} ${dim(seconds(ms))}`)
        return result
      } catch (error) {
        line.clear()
        throw error
      }
    },
  }
}

/** Errors whose message is all that people need. */
const EXPECTED = new Set(['CommandError', 'ConfigError', 'Refused', 'PostgresError', 'DefinitionError', 'ApiError', 'ProjectError'])

/** What the machine refuses a file or folder for. Node.js names the call and the path in the message. */
const REFUSED = new Set(['EACCES', 'EDQUOT', 'EEXIST', 'EISDIR', 'EMFILE', 'ENOSPC', 'ENOTDIR', 'EPERM', 'EROFS'])

const isExpected = ({ name, code, path }: NodeJS.ErrnoException): boolean =>
  EXPECTED.has(name) || (path !== undefined && code !== undefined && REFUSED.has(code))

/** Ctrl-C reaches us from the terminal, and a moment later again from npm, which passes it on. */
const SAME_MS = 500
const INTERRUPTED = 130

/**
 * Gives the signal of Ctrl-C, SIGTERM and SIGHUP to what puts things in order before it ends. Until somebody has asked for it, an interrupt ends the
 * process at once; a second one does so in any case.
 */
export type Interrupts = () => AbortSignal

/** What a command's main ends with: one line, what to do, an exit code; a stack only for a defect of ours. */
export async function runCommand(name: string, main: (interrupts: Interrupts) => Promise<number>): Promise<void> {
  const interrupt = new AbortController()
  let isHandled = false
  let interruptedAt = 0
  const end = () => {
    say(`\n${name} was interrupted`)
    process.exit(INTERRUPTED)
  }
  const onInterrupt = () => {
    if (interrupt.signal.aborted) {
      if (performance.now() - interruptedAt > SAME_MS) end()
      return
    }
    interruptedAt = performance.now()
    interrupt.abort()
    if (!isHandled) end()
  }
  for (const output of [process.stdout, process.stderr]) output.on('error', () => {})
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onInterrupt)
  try {
    process.exitCode = await main(() => {
      isHandled = true
      return interrupt.signal
    })
  } catch (error) {
    if (interrupt.signal.aborted) return end()
    say(`${red('error:')} ${isExpected(error as Error) ? (error as Error).message : ((error as Error).stack ?? String(error))}`)
    if (error instanceof CommandError) for (const line of linesOf(error.remedy)) say(`  ${line}`)
    process.exitCode = (error as { exitCode?: number }).exitCode ?? 1
  }
  if (interrupt.signal.aborted) end()
}
