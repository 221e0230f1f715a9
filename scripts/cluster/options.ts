import { type ParseArgsConfig, parseArgs } from 'node:util'
import { CommandError } from '../terminal.ts'

/**
 * Flags of a command.
 * @throws CommandError, exit code 2, naming the flag
 */
export function parseFlags<const O extends NonNullable<ParseArgsConfig['options']>>(options: O, args = process.argv.slice(2)) {
  try {
    return parseArgs({ options, args }).values
  } catch (error) {
    throw Object.assign(new CommandError(`${(error as Error).message.split('. ')[0]}; see --help`), { exitCode: 2 })
  }
}

/** @throws CommandError naming the flag when the text is no whole number within the bounds */
export function wholeNumber(flag: string, text: string, { min, max }: { min: number; max: number }): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw Object.assign(new CommandError(`--${flag} ${text} is not a whole number from ${min} to ${max}`), { exitCode: 2 })
}
