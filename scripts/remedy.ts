/** What to do about a fault. */
export interface Remedy {
  /** What to look at or to change by hand. */
  advice?: string
  /** To paste as they are: the first is the one to begin with, the others are other ways. */
  commands?: readonly string[]
  /** A page that says more. */
  page?: string
}

export const toRun = (...commands: string[]): Remedy => ({ commands })

/** A value as a POSIX shell takes it. */
export const quoted = (value: string): string => (/^[\w./:@,=-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`)

/** A command of kubectl for a context. */
export const kubectl = (context: string, words: string): string => `kubectl --context ${quoted(context)} ${words}`

/** A command of ours for a context, with the settings under which it means the system that was looked at. */
export function fairlead(context: string, words: string, settings: Record<string, string> = {}): string {
  const variables = Object.entries(settings).map(([name, value]) => `${name}=${quoted(value)} `)
  return `${variables.join('')}npx fairlead ${words} --context ${quoted(context)}`
}

/** One line for each thing to do. */
export const linesOf = ({ advice, commands = [], page }: Remedy): string[] => [
  ...(advice ? [`check: ${advice}`] : []),
  ...commands.map((command, index) => `${index === 0 ? 'do' : 'or'}: ${command}`),
  ...(page ? [`see: ${page}`] : []),
]
