import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { system } from '../../infra/system.ts'
import type { LoadFailure } from '../../scripts/journey/load.ts'
import { newClients } from './support/clients.ts'
import { offer } from './support/load.ts'
import { cluster, context, NAMESPACE, report, settings, sleep } from './support/target.ts'

const run = promisify(execFile)
const hasKubectl = await run('kubectl', ['version', '--client']).then(
  () => true,
  () => false,
)
if (!hasKubectl) process.stderr.write('SKIPPED: memory is not looked at, for kubectl is not installed\n')

/** How long traffic is offered before memory is looked at: 10 for the figures in the README. */
const MINUTES = Number(process.env.FOOTPRINT_MINUTES ?? '1')

const REQUESTS_PER_SECOND = 32
/** Less than their tokens live. */
const MINUTES_OF_CLIENTS = 4

/** Budgets of the design, in MiB. */
const PLATFORM_MIB = 600
const COLLECTOR_MIB = 40

interface Memory {
  namespace: string
  pod: string
  container: string
  /** Anonymous memory: what the container alone holds. */
  rssMiB: number
  /** With the pages of files that it uses, which containers of one image share on a node. */
  workingSetMiB: number
}

/** Of the kubelet's summary API, what is read here. */
interface Summary {
  pods: {
    podRef: { name: string; namespace: string }
    containers?: { name: string; memory?: { rssBytes?: number; workingSetBytes?: number } }[]
  }[]
}

const summaryOf = async (node: string): Promise<Summary> => {
  const { stdout } = await run('kubectl', ['--context', context, 'get', '--raw', `/api/v1/nodes/${node}/proxy/stats/summary`], {
    maxBuffer: 16 << 20,
  })
  return JSON.parse(stdout)
}

/** What the kubelets say of every container. */
async function memory(): Promise<Memory[]> {
  const nodes = await cluster.list('v1', 'Node')
  const summaries = await Promise.all(nodes.map(({ metadata }) => summaryOf(metadata.name)))
  return summaries.flatMap(({ pods }) =>
    pods.flatMap(({ podRef, containers = [] }) =>
      containers.map(({ name, memory: used }) => ({
        namespace: podRef.namespace,
        pod: podRef.name,
        container: name,
        rssMiB: (used?.rssBytes ?? 0) / 2 ** 20,
        workingSetMiB: (used?.workingSetBytes ?? 0) / 2 ** 20,
      })),
    ),
  )
}

const sum = (found: readonly Memory[], what: 'rssMiB' | 'workingSetMiB') => Math.round(found.reduce((total, one) => total + one[what], 0))

test(
  'the platform and the collectors stay within their memory',
  async () => {
    const failures: LoadFailure[] = []
    for (let minutes = MINUTES; minutes > 0; minutes -= MINUTES_OF_CLIENTS) {
      const load = offer(REQUESTS_PER_SECOND, await newClients(20))
      await sleep(Math.min(minutes, MINUTES_OF_CLIENTS) * 60_000)
      failures.push(...(await load.stop()).failures)
    }
    const all = await memory()
    const isPlatform = ({ namespace, pod }: Memory) =>
      [settings.INGRESS_NAMESPACE, settings.MONITORING_NAMESPACE, settings.TRACING_NAMESPACE].includes(namespace) || pod.startsWith('metrics-server-')
    const platform = all.filter(one => isPlatform(one) && !one.pod.startsWith('grafana-'))
    const collectors = all.filter(({ namespace, container }) => namespace === NAMESPACE && container === 'collector')
    const services = all.filter(({ namespace, container }) => namespace === NAMESPACE && system.services.some(({ name }) => name === container))
    report(`after ${MINUTES} min of ${REQUESTS_PER_SECOND} requests/s, anonymous memory and working set in MiB:`)
    for (const one of [...platform, ...collectors, ...services])
      report(`  ${one.pod}/${one.container}: ${Math.round(one.rssMiB)}, ${Math.round(one.workingSetMiB)}`)
    report(
      `platform without Grafana: ${sum(platform, 'rssMiB')}, ${sum(platform, 'workingSetMiB')}; everything in the cluster: ${sum(all, 'rssMiB')}, ${sum(all, 'workingSetMiB')}`,
    )
    expect(failures).toEqual([])
    expect(platform.length).toBeGreaterThanOrEqual(7)
    expect(collectors.length).toBeGreaterThanOrEqual(4)
    expect(sum(platform, 'workingSetMiB')).toBeLessThanOrEqual(PLATFORM_MIB)
    for (const one of collectors) expect(one.workingSetMiB, one.pod).toBeLessThanOrEqual(COLLECTOR_MIB)
  },
  (MINUTES + 3) * 60_000,
)
