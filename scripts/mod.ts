/** For tools of a repository's own that behave as the commands of fairlead do. */
export { type Call, type CommandSpec, defineCommand, runAlone, wholeNumber } from './command.ts'
export { CommandError, say, usageError } from './terminal.ts'
