import { styleText } from 'node:util'
import { someSettings } from '@fairlead/infra/tools'
import { prettyFactory } from 'pino-pretty'
import { loadApp } from '../app.ts'
import { openCluster } from '../cluster/cluster.ts'
import { followLogs } from '../cluster/follow-logs.ts'
import { defineCommand, wholeNumber } from '../command.ts'
import { printable, say, usageError } from '../terminal.ts'
import { CONTEXT } from './options.ts'

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

export const logs = defineCommand({
  name: 'logs',
  summary: 'Follow the logs of all pods of a service',
  description: 'Follows the logs of all pods of a service, also of those that come later. Ctrl-C ends it.',
  examples: ['npx fairlead logs SERVICE', 'npx fairlead logs SERVICE --context NAME --lines 100'],
  options: command =>
    command
      .argument('<service>', 'name of a service of the graph')
      .addOption(CONTEXT)
      .option('--lines <count>', 'lines of each pod to begin with', wholeNumber({ min: 0, max: 100_000 }), 20)
      .option('--json', 'the lines as they were written, each with its pod'),
  run: async (flags, { words: [service] }) => {
    const { system } = await loadApp()
    const names: readonly string[] = system.services.map(({ name }) => name)
    if (!names.includes(service)) throw usageError(`there is no service '${service}': name one of ${names.join(', ')}`)
    const asJson = (pod: string, line: string) => process.stdout.write(`${JSON.stringify({ pod, line })}\n`)
    const print = flags.json ? asJson : prettyPrinter()
    const cluster = openCluster(flags.context)
    const selector = `app.kubernetes.io/name=${service}`
    const { NAMESPACE: namespace } = someSettings(process.env, system, 'NAMESPACE')
    if ((await cluster.list('v1', 'Pod', namespace, selector)).length === 0)
      say(`there is no pod of ${service} in namespace ${namespace} yet; its lines follow when there is one`)
    await followLogs(cluster, { namespace, selector, container: service, lines: flags.lines }, (pod, _container, line) => print(pod, line))
    return 0
  },
})
