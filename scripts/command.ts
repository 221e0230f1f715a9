import { Command, CommanderError, type CommandUnknownOpts, InvalidArgumentError, type OptionValues } from '@commander-js/extra-typings'
import { type Interrupts, runCommand, usageError } from './terminal.ts'

/** What `run` gets beside the flags. */
export interface Call<Words> {
  /** For a command that puts something in order when it is interrupted; any other is ended at once. */
  interrupts: Interrupts
  /** What stands beside the flags, e.g. a service's name. */
  words: Words
}

export interface CommandSpec<Words extends unknown[], Flags extends OptionValues> {
  name: string
  /** One line in the list of commands. */
  summary: string
  /** What it does and when it ends with 1. @default the summary */
  description?: string
  examples: readonly string[]
  /** The end of its help, when that depends on the app. */
  details?: () => Promise<string>
  options?: (command: Command) => Command<Words, Flags>
  /** @returns the exit code */
  run(flags: Flags, call: Call<Words>): Promise<number>
}

export interface DefinedCommand {
  name: string
  details: () => Promise<string>
  build(interrupts: Interrupts, end: (code: number) => void): CommandUnknownOpts
}

/** One command. What `options` declares is what `run` gets. */
export const defineCommand = <Words extends unknown[] = [], Flags extends OptionValues = Record<never, never>>(
  spec: CommandSpec<Words, Flags>,
): DefinedCommand => ({
  name: spec.name,
  details: spec.details ?? (async () => ''),
  build: (interrupts, end) => {
    const command = withRules(new Command(spec.name))
    command
      .summary(spec.summary)
      .description((spec.description ?? spec.summary).replace(/(?<!\n)\n(?!\n)/g, ' '))
      .helpOption('-h, --help', 'show this text')
    spec.options?.(command)
    command.addHelpText('after', `\nExamples:\n${spec.examples.map(example => `  ${example}`).join('\n')}`)
    // Commander gives the words, then the flags and the command itself.
    return command.action(async (...given: unknown[]) =>
      end(await spec.run(command.opts() as Flags, { interrupts, words: given.slice(0, -2) as Words })),
    )
  },
})

/** A command that is added to another takes over none of its settings. */
export const withRules = <C extends CommandUnknownOpts>(command: C): C => {
  const helpWidth = Math.min(process.stdout.columns ?? 100, 100)
  command.exitOverride().configureOutput({ outputError: () => {}, getOutHelpWidth: () => helpWidth, getErrHelpWidth: () => helpWidth })
  return command
}

/** Reads a whole number within bounds. */
export const wholeNumber =
  ({ min, max }: { min: number; max: number }) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() !== '' && Number.isInteger(value) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`It takes a whole number from ${min} to ${max}.`)
  }

/**
 * Runs what the arguments say.
 * @returns the exit code
 * @throws CommandError, exit code 2, naming the flag or word that is wrong
 */
export async function parse(name: string, args: readonly string[], build: (end: (code: number) => void) => CommandUnknownOpts): Promise<number> {
  let code = 0
  try {
    await build(ended => {
      code = ended
    }).parseAsync(args, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return 0
    // Called without a command: commander has shown its help instead.
    if (error.code === 'commander.help') return 2
    const said = error.message.replace(/^error: /, '').replaceAll('\n', ' ')
    throw usageError(said.includes('(Did you mean') ? said : `${said.replace(/\.$/, '')}; see ${name} --help`)
  }
  return code
}

/** Runs one command by itself: a tool of a repository's own. */
export const runAlone = (command: DefinedCommand): Promise<void> =>
  runCommand(command.name, interrupts => parse(command.name, process.argv.slice(2), end => command.build(interrupts, end)))
