import { refuseImpossibleGraph } from '@fairlead/infra/tools'
import { loadApp } from './app.ts'
import { parseFlags } from './cluster/options.ts'
import { objectionTo, type Place, patternsInSources, patternsOf, unboundedOf } from './patterns.ts'
import { CommandError, runCommand, say } from './terminal.ts'

const HELP = `npm run check:system [-- options]

Refuses a graph that cannot work, as npm run synth does (infra/kit/checks), and what would let a caller keep a service busy: a pattern of a contract, or one written out anywhere in services/, whose time is not
linear in the text (https://makenowjust-labs.github.io/recheck), and a text or list of a request that has no longest length.

  --help  this text
`

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

await runCommand('npm run check:system', async () => {
  const flags = parseFlags({ help: { type: 'boolean', default: false } })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
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
  say(`${places.length} patterns are linear, every text and list has a longest length`)
  return 0
})
