import type { SystemDefinition } from '@fairlead/chassis'
import { graphProblems } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { defineCommand } from '../command.ts'
import { objectionTo, type Place, patternsInSources, patternsOf, type Unbounded, unboundedOf } from '../patterns.ts'
import { CommandError, say } from '../terminal.ts'
import { JSON_OUTPUT } from './options.ts'

/** What is wrong, as `--json` gives it. */
interface Problem {
  /** Of a graph that cannot work, of a text or list without a longest length, of a pattern that takes too long. */
  about: 'graph' | 'length' | 'pattern'
  /** Which part of a request, or which line of a file. @default the message says it */
  where?: string
  message: string
}

const lengthProblem = ({ where, what }: Unbounded): Problem => ({
  about: 'length',
  where,
  message: `the ${what} has no longest length; give it ${what === 'list' ? '.max(n)' : '.max(n) or .meta({ maxLength: n })'}`,
})

/** Each pattern once, however often it is used. */
function patternProblems(places: readonly Place[]): Problem[] {
  const judged = new Map<string, string | undefined>()
  return places.flatMap(({ where, pattern }): Problem[] => {
    const key = String(pattern)
    if (!judged.has(key)) judged.set(key, objectionTo(pattern))
    const objection = judged.get(key)
    return objection === undefined ? [] : [{ about: 'pattern', where, message: `${pattern.source.slice(0, 80)} ${objection}` }]
  })
}

async function look({ services }: SystemDefinition): Promise<{ problems: Problem[]; patterns: number }> {
  const open = services.flatMap(({ name, contract }) => unboundedOf(name, contract))
  const places = [...services.flatMap(({ name, contract }) => patternsOf(name, contract)), ...(await patternsInSources('services'))]
  return { problems: [...open.map(lengthProblem), ...patternProblems(places)], patterns: places.length }
}

const linesOf = (title: string, problems: readonly Problem[]): string[] =>
  problems.length === 0 ? [] : [`${title}:`, ...problems.map(({ where, message }) => `  ${where === undefined ? '' : `${where}: `}${message}`)]

export const check = defineCommand({
  name: 'check',
  summary: 'Refuse a graph that cannot work',
  description: `Refuses a graph that cannot work, as synth does, and what would let a caller keep a service busy: a pattern of a contract, or one
written out anywhere in services/, whose time is not linear in the text (https://makenowjust-labs.github.io/recheck), and a text or list
of a request that has no longest length.

It starts no service: that an operation has no handler is told by tsc, by tests and by the start of the service.`,
  examples: ['npx fairlead check', 'npx fairlead check --json'],
  options: command => command.addOption(JSON_OUTPUT),
  run: async ({ json }) => {
    const { system } = await loadApp()
    const graph = graphProblems(system).map((message): Problem => ({ about: 'graph', message }))
    const { problems, patterns } = await look(system)
    const all = [...graph, ...problems]
    if (json) {
      process.stdout.write(`${JSON.stringify({ works: all.length === 0, problems: all }, null, 2)}\n`)
      return all.length === 0 ? 0 : 1
    }
    const lines = [...linesOf('the system cannot work as described', graph), ...linesOf('what callers send could keep a service busy', problems)]
    if (lines.length > 0) throw new CommandError(lines.join('\n'))
    say(`the graph works; ${patterns} patterns are linear; every text and list has a longest length`)
    return 0
  },
})
