import { expect, test } from 'vitest'
import { publicPaths } from '../../infra/kit/constructs/public-paths.ts'
import { system } from '../../infra/system.ts'
import { type Endpoint, type Identity, probe } from '../../scripts/doctor/probe.ts'
import { portOf, portsOf } from '../../services/chassis/contract/graph.ts'
import { user } from '../../services/user/service.ts'
import { cluster, NAMESPACE, readyPods, report, settings } from './support/target.ts'

const MONITORING = settings.MONITORING_NAMESPACE
const ADMIN = 9_090
const COLLECTOR = 8_888

/** Everything that listens, as `program:port`. */
const LISTENING: [program: string, namespace: string, ports: number[]][] = [
  ...system.services.map((service): [string, string, number[]] => [service.name, NAMESPACE, [...portsOf(service), ADMIN, COLLECTOR]]),
  ['postgres', NAMESPACE, [5_432]],
  ['jaeger', settings.TRACING_NAMESPACE, [4_317, 8_888, 16_686]],
  ['prometheus', MONITORING, [9_090]],
  ['alertmanager', MONITORING, [9_093]],
  ['prometheus-operator', MONITORING, [8_080]],
  ['traefik', settings.INGRESS_NAMESPACE, [8_000, 8_443, 8_080]],
]

const CALLERS: Identity[] = [
  ...LISTENING.map(([name, namespace]) => ({ name, namespace })),
  { namespace: NAMESPACE },
  { namespace: MONITORING },
  { namespace: 'default' },
]

/** What the graph says of one pair, written down apart from the constructs: whoever is not named here is refused. */
function isEdge(caller: Identity, callee: string, port: number): boolean {
  const service = system.services.find(({ name }) => name === callee)
  const isService = system.services.some(({ name }) => name === caller.name)
  const calls = system.services.find(({ name }) => name === caller.name)?.calls ?? []
  // Keys of users' tokens come by HTTP, however a service is called.
  const keys = caller.name === 'order' ? user : undefined
  switch (caller.name) {
    case 'traefik':
      return (service !== undefined && port === service.port && publicPaths(service.contract).length > 0) || (callee === 'jaeger' && port === 4_317)
    case 'prometheus':
      return (
        (service !== undefined && [ADMIN, COLLECTOR].includes(port)) ||
        ['traefik:8080', 'jaeger:8888', 'prometheus:9090', 'alertmanager:9093', 'prometheus-operator:8080'].includes(`${callee}:${port}`)
      )
    case undefined:
      // Outside every namespace of ours only the way in is open.
      return caller.namespace === 'default' && callee === 'traefik' && port !== 8_080
    default:
      if (!isService) return false
      return (
        calls.some(edge => edge.to.name === callee && portOf(edge) === port) ||
        (keys?.name === callee && keys.port === port) ||
        (callee === 'postgres' && port === 5_432) ||
        (callee === 'jaeger' && port === 4_317)
      )
  }
}

test('every pair of programs can talk exactly where the graph has an edge', async () => {
  const endpoints: Endpoint[] = []
  for (const [program, namespace, ports] of LISTENING) {
    const [pod] = await readyPods(program, namespace)
    if (!pod) throw new Error(`${namespace}/${program} has no ready pod`)
    endpoints.push(...ports.map(port => ({ title: `${program}:${port}`, address: pod.status.podIP as string, port })))
  }
  const seen = await probe(cluster, CALLERS, { endpoints })
  const wrong: string[] = []
  let allowed = 0
  CALLERS.forEach((caller, index) => {
    for (const { title } of endpoints) {
      const [callee = '', port] = title.split(':')
      const expected = isEdge(caller, callee, Number(port))
      if (expected) allowed++
      if (seen[index]?.open.has(title) !== expected)
        wrong.push(`${caller.namespace}/${caller.name ?? 'stranger'} -> ${title} is ${expected ? 'refused' : 'open'}`)
    }
  })
  report(
    `${CALLERS.length * endpoints.length} pairs: ${allowed} allowed, ${CALLERS.length * endpoints.length - allowed} refused, ${wrong.length} wrong`,
  )
  expect(wrong).toEqual([])
  expect(allowed).toBeGreaterThan(15)
})
