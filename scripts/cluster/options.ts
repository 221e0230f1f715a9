import { type ParseArgsConfig, parseArgs } from 'node:util'
import { CommandError } from '../terminal.ts'

/** A mistake in how a command was called: one line, exit code 2. */
export const usageError = (message: string, hint?: string) => Object.assign(new CommandError(message, hint), { exitCode: 2 })

function orUsageError<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw usageError(`${(error as Error).message.split('. ')[0]}; see --help`)
  }
}

type Flags = NonNullable<ParseArgsConfig['options']>

/**
 * Flags of a command.
 * @throws CommandError, exit code 2, naming the flag
 */
export const parseFlags = <const O extends Flags>(options: O, args = process.argv.slice(2)) => orUsageError(() => parseArgs({ options, args }).values)

/** Flags of a command that takes words as well. */
export const parseWords = <const O extends Flags>(options: O) =>
  orUsageError(() => parseArgs({ options, args: process.argv.slice(2), allowPositionals: true }))

/** @throws CommandError naming the flag when the text is no whole number within the bounds */
export function wholeNumber(flag: string, text: string, { min, max }: { min: number; max: number }): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw usageError(`--${flag} ${text} is not a whole number from ${min} to ${max}`)
}
