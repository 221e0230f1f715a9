import { refuseImpossibleGraph } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { defineCommand } from '../command.ts'
import { objectionTo, type Place, patternsInSources, patternsOf, unboundedOf } from '../patterns.ts'
import { CommandError, say } from '../terminal.ts'

/** Each pattern once, however often it is used. */
function objections(places: readonly Place[]): string[] {
  const judged = new Map<string, string | undefined>()
  return places.flatMap(({ where, pattern }) => {
    const key = String(pattern)
    if (!judged.has(key)) judged.set(key, objectionTo(pattern))
    const objection = judged.get(key)
    return objection === undefined ? [] : [`${where}: ${pattern.source.slice(0, 80)} ${objection}`]
  })
}

export const check = defineCommand({
  name: 'check',
  summary: 'Refuse a graph that cannot work',
  description: `Refuses a graph that cannot work, as synth does, and what would let a caller keep a service busy: a pattern of a contract, or one
written out anywhere in services/, whose time is not linear in the text (https://makenowjust-labs.github.io/recheck), and a text or list
of a request that has no longest length.`,
  examples: ['npx fairlead check'],
  run: async () => {
    const { system } = await loadApp()
    refuseImpossibleGraph(system)
    const open = system.services.flatMap(({ name, contract }) => unboundedOf(name, contract))
    const places = [...system.services.flatMap(({ name, contract }) => patternsOf(name, contract)), ...(await patternsInSources('services'))]
    const problems = [
      ...open.map(
        ({ where, what }) =>
          `${where}: the ${what} has no longest length; give it ${what === 'list' ? '.max(n)' : '.max(n) or .meta({ maxLength: n })'}`,
      ),
      ...objections(places),
    ]
    if (problems.length > 0)
      throw new CommandError(`what callers send could keep a service busy:\n${problems.map(problem => `  ${problem}`).join('\n')}`)
    say(`the graph works; ${places.length} patterns are linear; every text and list has a longest length`)
    return 0
  },
})
