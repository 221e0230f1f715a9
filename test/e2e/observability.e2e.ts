import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ownerSecret } from '../../infra/kit/constructs/deployment.ts'
import { entryServices } from '../../infra/kit/constructs/ingress.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { app } from '../../infra/main.ts'
import { system } from '../../infra/system.ts'
import { reachDatabase } from '../../scripts/cluster/database.ts'
import type { Forwarded } from '../../scripts/cluster/forward.ts'
import { keptTraceId } from '../../scripts/doctor/checks/journey.ts'
import { edgesOf, type Trace, titleOfEdge } from '../../scripts/doctor/checks/traces.ts'
import { isKept, KEPT_SHARE } from '../../services/chassis/contract/sampling.ts'
import { keysCalleeOf } from '../../services/chassis/contract/users.ts'
import { user } from '../../services/user/service.ts'
import { forwardTo, getJson } from './support/monitoring.ts'
import { http, newCustomer, type Reply } from './support/shop.ts'
import { cluster, eventually, readyPods, report, settings, sleep } from './support/target.ts'

const open: Pick<Forwarded, 'close'>[] = []
let prometheus: string
let jaeger: string
let alertmanager: string

beforeAll(async () => {
  const forward = async (name: string, namespace: string, port: number) => {
    const forwarded = await forwardTo(name, namespace, port)
    open.push(forwarded)
    return forwarded.url
  }
  prometheus = await forward('prometheus', settings.MONITORING_NAMESPACE, 9_090)
  jaeger = await forward('jaeger', settings.TRACING_NAMESPACE, 16_686)
  alertmanager = await forward('alertmanager', settings.MONITORING_NAMESPACE, 9_093)
})

afterAll(async () => {
  for (const forwarded of open) await forwarded.close()
})

interface Target {
  labels: { job: string; pod: string; endpoint: string }
  health: string
  lastError: string
}

test('Prometheus scrapes every pod of every program, and none is down', async () => {
  const programs = [...system.services.map(({ name }) => name), 'traefik', 'jaeger', 'prometheus', 'alertmanager', 'prometheus-operator']
  const targets = await eventually(
    async () => {
      const active: Target[] = (await getJson(`${prometheus}/api/v1/targets?state=active`)).data.activeTargets
      const pods = await Promise.all(system.services.map(async ({ name }) => (await readyPods(name)).map(({ metadata }) => metadata.name as string)))
      return { active, pods: pods.flat() }
    },
    ({ active, pods }) => {
      const down = active.filter(({ health }) => health !== 'up')
      expect(down.map(({ labels, lastError }) => `${labels.pod} ${labels.endpoint}: ${lastError}`)).toEqual([])
      expect([...new Set(active.map(({ labels }) => labels.job))].sort()).toEqual(programs.sort())
      const ofServices = active.filter(({ labels }) => system.services.some(({ name }) => name === labels.job))
      expect(ofServices.map(({ labels }) => `${labels.pod} ${labels.endpoint}`).sort()).toEqual(
        pods.flatMap(pod => [`${pod} admin`, `${pod} otel-metrics`]).sort(),
      )
    },
    90_000,
  ).then(({ active }) => active)
  report(`${targets.length} targets of ${programs.length} programs, all up`)
})

/** What OpenTelemetry's stable conventions require of HTTP, gRPC and database spans, of spans that are ours. */
function missingAttributes({ operationName, tags }: Trace['spans'][number]): string[] {
  const has = new Map(tags.map(({ key, value }) => [key, value]))
  const required = has.has('db.system.name')
    ? ['db.namespace', 'db.query.text', 'db.query.summary', 'server.address']
    : has.get('span.kind') === 'client' && has.has('url.template')
      ? ['http.request.method', 'url.full', 'server.address', 'server.port', 'http.response.status_code']
      : has.get('span.kind') === 'server' && has.has('http.route')
        ? ['http.request.method', 'url.path', 'url.scheme', 'http.response.status_code']
        : has.has('rpc.system.name')
          ? ['rpc.method', 'rpc.response.status_code', ...(has.get('span.kind') === 'client' ? ['server.address', 'server.port'] : [])]
          : []
  // Values are parameters: no statement has a literal of the order in it.
  const leaks = String(has.get('db.query.text') ?? '').includes('phone-case') ? [`${operationName} has a value`] : []
  return [...required.filter(key => !has.has(key)), ...leaks]
}

test('an order is one trace, whose edges are those of the graph', async () => {
  const { token } = await newCustomer()
  const traceId = keptTraceId()
  const placed = await http('POST', '/orders', {
    token,
    key: traceId,
    body: { items: [{ sku: 'phone-case', quantity: 1 }] },
    headers: { traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01` },
  })
  expect(placed.status).toBe(201)
  const trace = await eventually<Trace | undefined>(
    async () => (await getJson(`${jaeger}/api/traces/${traceId}`).catch(() => undefined))?.data?.[0],
    found => {
      const services = new Set(Object.values(found?.processes ?? {}).map(({ serviceName }) => serviceName))
      expect([...services].sort()).toEqual(['order', 'traefik', 'user'])
      expect(found?.spans.some(({ operationName }) => /^PUT \/reservations\/\{orderId\}$|\/ReserveCredit$/.test(operationName))).toBe(true)
    },
    60_000,
  )
  const edges = system.services.flatMap(service => service.calls.map(edge => titleOfEdge(service.name, edge)))
  expect(entryServices({ system }).map(({ name }) => name)).toContain('order')
  const seen = edgesOf(trace as Trace)
  expect(seen).toEqual(['traefik -> order', ...edges].sort())
  for (const span of trace?.spans ?? []) expect([span.operationName, missingAttributes(span)]).toEqual([span.operationName, []])
  const statements = trace?.spans.filter(({ tags }) => tags.some(({ key }) => key === 'db.system.name')) ?? []
  expect(statements.length).toBeGreaterThan(0)
  expect(JSON.stringify(trace)).not.toContain(token)
  // Who the client is, and text of its own, is nobody's to keep.
  const keys = new Set(trace?.spans.flatMap(({ tags }) => tags.map(({ key }) => key)))
  for (const key of ['client.address', 'network.peer.address', 'user_agent.original', 'url.query']) expect([...keys]).not.toContain(key)
  report(`${trace?.spans.length} spans, ${statements.length} of them SQL; edges ${seen.join(', ')}`)
})

const graphEdges = [
  ...entryServices({ system }).map(({ name }) => `traefik -> ${name}`),
  ...system.services.flatMap(service => service.calls.map(edge => titleOfEdge(service.name, edge))),
].sort()

/** Keys of users' tokens are fetched by HTTP, whatever the protocol of an edge to the same service. Few of their traces are kept. */
const keyFetches = system.services.flatMap(service => {
  const callee = keysCalleeOf(system, service)
  return callee ? [`${service.name} -> ${callee.name}`] : []
})

test('all traces together show every edge of the graph and no other', async () => {
  const { token } = await newCustomer()
  const trace = () => ({ traceparent: `00-${keptTraceId()}-${randomBytes(8).toString('hex')}-01` })
  await http('GET', '/users/me', { token, headers: trace() })
  const body = { items: [{ sku: 'phone-case', quantity: 1 }] }
  await http('POST', '/orders', { token, key: randomBytes(8).toString('hex'), body, headers: trace() })
  const programs = ['traefik', ...system.services.map(({ name }) => name)]
  const traces = await eventually<Trace[]>(
    async () =>
      (await Promise.all(programs.map(name => getJson(`${jaeger}/api/traces?service=${name}&limit=1000&lookback=1h`)))).flatMap(({ data }) => data),
    found => {
      const seen = new Set(found.flatMap(edgesOf))
      expect([...seen].filter(edge => graphEdges.includes(edge) || !keyFetches.includes(edge)).sort()).toEqual(graphEdges)
    },
    60_000,
  )
  report(`${traces.length} traces show the ${graphEdges.length} edges ${graphEdges.join(', ')}`)
})

test('what the relay does later links to the trace of the order', async () => {
  const { token } = await newCustomer()
  const sql = await openDatabase()
  const traceId = keptTraceId()
  const headers = { traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01` }
  const body = { items: [{ sku: 'phone-case', quantity: 1 }] }
  await sql.query('alter table reservations rename to reservations_away')
  let placed: Reply
  try {
    placed = await http('POST', '/orders', { token, key: traceId, body, headers })
    await sleep(2_000)
  } finally {
    await sql.query('alter table reservations_away rename to reservations')
    await sql.end()
  }
  expect([placed.status, placed.body.state]).toEqual([202, 'pending'])
  await eventually(
    () => http('GET', `/orders/${placed.body.id}`, { token }),
    reply => expect(reply.body.state).toBe('confirmed'),
    60_000,
  )
  const query = `service=order&operation=${encodeURIComponent('outbox user.reserveCredit')}&limit=200&lookback=1h`
  const linked = await eventually<Trace[]>(
    async () => {
      const { data } = await getJson(`${jaeger}/api/traces?${query}`)
      return data.filter(({ spans }: Trace) => spans.some(span => span.references.some(({ traceID }) => traceID === traceId)))
    },
    // Those that failed, and the one that went well.
    found => {
      const failed = found.filter(trace => JSON.stringify(trace).includes('"error.type"'))
      expect([failed.length > 0, found.length > failed.length]).toEqual([true, true])
    },
    30_000,
  )
  // Linked, not part of it: the order was answered long before.
  const links = linked.flatMap(({ spans }) => spans.flatMap(({ references }) => references)).filter(({ traceID }) => traceID === traceId)
  expect([...new Set(links.map(({ refType }) => refType))]).toEqual(['FOLLOWS_FROM'])
  report(`${linked.length} later attempts link to the trace of their order`)
}, 180_000)

test('a request can be found from the histogram that counted it', async () => {
  const customer = await newCustomer()
  for (let n = 0; n < 20; n++) await http('GET', '/users/me', { token: customer.token })
  const query = new URLSearchParams({
    query: 'http_server_request_duration_seconds_bucket{job="user"}',
    start: String(Date.now() / 1_000 - 300),
    end: String(Date.now() / 1_000 + 60),
  })
  const traceId = await eventually<string>(
    async () => {
      const { data } = await getJson(`${prometheus}/api/v1/query_exemplars?${query}`)
      const found = data.flatMap(({ exemplars }: { exemplars: { labels: { trace_id?: string }; timestamp: number }[] }) => exemplars)
      return found.sort((a: { timestamp: number }, b: { timestamp: number }) => b.timestamp - a.timestamp)[0]?.labels.trace_id ?? ''
    },
    id => expect(id).toMatch(/^[0-9a-f]{32}$/),
    60_000,
  )
  const found = await eventually(
    () => getJson(`${jaeger}/api/traces/${traceId}`).catch(() => undefined),
    answer => expect(answer?.data?.[0]?.spans?.length).toBeGreaterThan(0),
    30_000,
  )
  report(`exemplar ${traceId} leads to ${found.data[0].spans.length} spans`)
})

const { own, platform } = synthesize({ ...app, settings, images: { user: 'a/user:1', order: 'a/order:1' } })
const ruleGroups = [...own, ...platform]
  .filter(({ kind }) => kind === 'PrometheusRule')
  .flatMap(({ spec }) => (spec as { groups: { name: string }[] }).groups.map(({ name }) => name))

test('Prometheus has every rule of the graph, and none fails', async () => {
  const groups = await eventually<{ name: string; rules: { health: string; name: string; lastError?: string }[] }[]>(
    async () => (await getJson(`${prometheus}/api/v1/rules`)).data.groups,
    found => {
      expect(found.map(({ name }) => name).sort()).toEqual(ruleGroups.sort())
      expect(
        found
          .flatMap(({ rules }) => rules)
          .filter(({ health }) => health !== 'ok')
          .map(({ name, lastError }) => `${name}: ${lastError ?? 'not evaluated'}`),
      ).toEqual([])
    },
    120_000,
  )
  report(`${groups.flatMap(({ rules }) => rules).length} rules, all evaluated`)
})

test('of the ordinary traces the share is kept that the services name', async () => {
  const ids = Array.from({ length: 60 }, () => randomBytes(16).toString('hex'))
  const wanted = ids.filter(id => isKept(id, KEPT_SHARE))
  wanted.push(keptTraceId())
  ids.push(...wanted.slice(-1))
  // What is not there is no failure, although the ingress marks its span as one.
  for (const [n, id] of ids.entries()) {
    const headers = { traceparent: `00-${id}-${randomBytes(8).toString('hex')}-01` }
    expect((await http('GET', n % 2 === 0 ? '/products/iphone-17' : '/products/no-such-thing', { headers })).status).toBe(n % 2 === 0 ? 200 : 404)
  }
  // Kept ones are there once the decision was made; by then the others would be, too.
  const present = async () => {
    const found = await Promise.all(
      ids.map(id =>
        getJson(`${jaeger}/api/traces/${id}`).then(
          answer => (answer.data?.[0]?.spans.length > 0 ? [id] : []),
          () => [],
        ),
      ),
    )
    return found.flat()
  }
  const kept = await eventually(present, found => expect(found).toEqual(expect.arrayContaining(wanted)), 60_000)
  report(`${kept.length} of ${ids.length} ordinary traces are kept`)
  // A slow one may be among them on a busy machine.
  expect(kept.length).toBeLessThan(ids.length / 2)
})

test('a user service that fails is told to Alertmanager', async () => {
  const { token } = await newCustomer()
  const sql = await openDatabase()
  let offering = true
  const answers: Record<number, number> = {}
  const client = async () => {
    while (offering) {
      const { status } = await http('GET', '/users/me', { token }).catch(() => ({ status: 0 }))
      answers[status] = (answers[status] ?? 0) + 1
      await sleep(20)
    }
  }
  // It stays ready, for its database answers, and fails every request that needs a session.
  await sql.query('alter table sessions rename to sessions_away')
  const clients = [client(), client()]
  try {
    const alerts = await eventually<{ labels: Record<string, string>; annotations: Record<string, string> }[]>(
      () => getJson(`${alertmanager}/api/v2/alerts?filter=${encodeURIComponent('service="user"')}`),
      found => expect(found.map(({ labels }) => `${labels.alertname} ${labels.severity} ${labels.window}`)).toContain('SloErrorBurn page 1h'),
      270_000,
    )
    const alert = alerts.find(({ labels }) => labels.alertname === 'SloErrorBurn')
    expect(alert?.annotations.runbook_url).toBe('docs/runbooks/slo-error-burn.md')
    report(`Alertmanager has ${alerts.map(({ labels }) => `${labels.alertname} (${labels.window})`).join(', ')}: ${alert?.annotations.description}`)
  } finally {
    offering = false
    await Promise.all(clients)
    await sql.query('alter table sessions_away rename to sessions')
    await sql.end()
  }
  report(`answers meanwhile: ${JSON.stringify(answers)}`)
  expect((await http('GET', '/users/me', { token })).status).toBe(200)
}, 480_000)

/** The user service's database by a port of this machine, as the owner of its tables. */
async function openDatabase(): Promise<pg.Client> {
  const { connection, close } = await reachDatabase(cluster, user, settings, ownerSecret(user))
  open.push({ close })
  const client = new pg.Client(connection)
  await client.connect()
  return client
}
