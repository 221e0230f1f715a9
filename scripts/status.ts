import { loadSettings } from '../infra/settings.ts'
import { type Cluster, openCluster, type Reference } from './cluster/cluster.ts'
import { readInventory } from './cluster/inventory.ts'
import { parseFlags } from './cluster/options.ts'
import { stateOf, type WorkloadState, workloadsOf } from './cluster/rollout.ts'
import { CommandError, dim, green, red, runCommand, say } from './terminal.ts'

const HELP = `npm run status [-- options]

What runs, in one screen. Ends with 1 when something is not ready.

  --context NAME  a context of the kubeconfig (default: kind-fairlead)
  --json          as JSON
  --help          this text
`

interface Row extends WorkloadState {
  image: string
  restarts: number
  /** Of the oldest pod, in seconds. */
  ageSeconds: number
}

/** A workload with what its pods tell. */
async function rowOf(cluster: Cluster, reference: Reference): Promise<Row> {
  const [state, live] = await Promise.all([stateOf(cluster, reference), cluster.read(reference)])
  const selector = Object.entries(live?.spec?.selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
  const pods = selector.length > 0 ? await cluster.list('v1', 'Pod', state.namespace, selector.join(',')) : []
  const restarts = pods.flatMap(pod => pod.status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0)
  const oldest = Math.min(...pods.map(pod => Date.parse(pod.status?.startTime ?? '') || Date.now()), Date.now())
  const image: string = live?.spec?.template?.spec?.containers?.[0]?.image ?? ''
  return { ...state, image, restarts, ageSeconds: Math.round((Date.now() - oldest) / 1_000) }
}

const age = (seconds: number): string =>
  seconds < 120
    ? `${seconds}s`
    : seconds < 7_200
      ? `${Math.round(seconds / 60)}m`
      : seconds < 172_800
        ? `${Math.round(seconds / 3_600)}h`
        : `${Math.round(seconds / 86_400)}d`

function table(rows: readonly Row[]): string {
  const lines = [
    ['', 'namespace', 'workload', 'ready', 'restarts', 'age', 'image'],
    ...rows.map(({ done, namespace, name, ready, desired, restarts, ageSeconds, image }) => [
      done ? '✓' : '✗',
      namespace,
      name,
      `${ready}/${desired}`,
      String(restarts),
      age(ageSeconds),
      image,
    ]),
  ]
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map(line => (line[column] ?? '').length))) ?? []
  return lines
    .map((line, index) => {
      const text = line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()
      if (index === 0) return dim(text)
      return text.replace('✓', green('✓')).replace('✗', red('✗'))
    })
    .join('\n')
}

await runCommand('npm run status', async () => {
  const flags = parseFlags({
    context: { type: 'string', default: 'kind-fairlead' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  const { NAMESPACE } = loadSettings(process.env)
  const cluster = openCluster(flags.context)
  const known = await readInventory(cluster, NAMESPACE)
  if (known.length === 0)
    throw new CommandError(
      `nothing was deployed to '${flags.context}' (namespace ${NAMESPACE})`,
      flags.context === 'kind-fairlead' ? 'npm run up' : `npm run deploy -- --context ${flags.context}`,
    )
  const rows = await Promise.all(workloadsOf(known).map(reference => rowOf(cluster, reference)))
  const ready = rows.every(({ done }) => done)
  const hosts = [
    ...new Set(
      (await cluster.list('networking.k8s.io/v1', 'Ingress', NAMESPACE)).flatMap(({ spec }) => spec.rules.map(({ host }: { host: string }) => host)),
    ),
  ]
  if (flags.json) process.stdout.write(`${JSON.stringify({ context: flags.context, ready, hosts, workloads: rows }, null, 2)}\n`)
  else {
    process.stdout.write(`${table(rows)}\n`)
    for (const { name, reason } of rows) if (reason) process.stdout.write(`${red('✗')} ${name}: ${reason}\n`)
    say(dim(`ingress: ${hosts.join(', ') || 'none'}`))
  }
  return ready ? 0 : 1
})
