import { styleText } from 'node:util'
import { someSettings } from '@fairlead/infra/tools'
import { prettyFactory } from 'pino-pretty'
import { loadApp } from './app.ts'
import { openCluster } from './cluster/cluster.ts'
import { followLogs } from './cluster/follow-logs.ts'
import { parseWords, usageError, wholeNumber } from './cluster/options.ts'
import { printable, runCommand, say } from './terminal.ts'

const { system } = await loadApp()

const HELP = `npm run logs -- SERVICE [options]

Follows the logs of all pods of a service, also of those that come later. Ctrl-C ends it.

  --context NAME  a context of the kubeconfig (default: kind-fairlead)
  --lines N       lines of each pod to begin with (default: 20)
  --json          the lines as they were written, each with its pod
  --help          this text
`

const COLOURS = ['cyan', 'magenta', 'yellow', 'green', 'blue'] as const

/** Prints lines for people: the pod in a colour of its own, then the line as pino-pretty has it. */
function prettyPrinter(): (pod: string, line: string) => void {
  const pretty = prettyFactory({ colorize: process.stdout.isTTY, ignore: 'service', singleLine: true, translateTime: 'SYS:HH:MM:ss.l' })
  const colours = new Map<string, (typeof COLOURS)[number]>()
  return (pod, line) => {
    const colour = colours.get(pod) ?? COLOURS[colours.size % COLOURS.length] ?? 'cyan'
    colours.set(pod, colour)
    process.stdout.write(`${styleText(colour, pod, { stream: process.stdout })} ${line.startsWith('{') ? pretty(line).trimEnd() : printable(line)}\n`)
  }
}

await runCommand('npm run logs', async signal => {
  const { values: flags, positionals } = parseWords({
    context: { type: 'string', default: 'kind-fairlead' },
    lines: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  const names: readonly string[] = system.services.map(({ name }) => name)
  const [service, ...more] = positionals
  if (!service || !names.includes(service))
    throw usageError(`${service ? `there is no service '${service}'` : 'the service is missing'}: name one of ${names.join(', ')}`)
  if (more.length > 0) throw usageError(`'${more.join(' ')}' is too much: name one service`)
  const asJson = (pod: string, line: string) => process.stdout.write(`${JSON.stringify({ pod, line })}\n`)
  const lines = wholeNumber('lines', flags.lines, { min: 0, max: 100_000 })
  const print = flags.json ? asJson : prettyPrinter()
  const cluster = openCluster(flags.context)
  const selector = `app.kubernetes.io/name=${service}`
  const { NAMESPACE: namespace } = someSettings(process.env, 'NAMESPACE')
  if ((await cluster.list('v1', 'Pod', namespace, selector)).length === 0)
    say(`there is no pod of ${service} in namespace ${namespace} yet; its lines follow when there is one`)
  await followLogs(cluster, { namespace, selector, container: service, lines, signal }, (pod, _container, line) => print(pod, line))
  return 0
})
