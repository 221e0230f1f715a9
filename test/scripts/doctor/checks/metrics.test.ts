import { describe, expect, test } from 'vitest'
import type { Live } from '../../../../scripts/cluster/cluster.ts'
import { NotHere } from '../../../../scripts/doctor/check.ts'
import { metricsChecks } from '../../../../scripts/doctor/checks/metrics.ts'
import { toRun } from '../../../../scripts/remedy.ts'
import {
  answering,
  contextOf,
  type FakeCluster,
  fakeCluster,
  LONG_AGO,
  manifests,
  podOf,
  runCheck,
  skipPauses,
} from '../../../support/fake-cluster.ts'

const PODS = ['booking-a', 'booking-b']
const PORTS = ['admin', 'otel-metrics']

const target = (pod: string, endpoint: string, more: object = {}) => ({
  labels: { job: 'booking', namespace: 'acme', pod, endpoint },
  health: 'up',
  lastError: '',
  ...more,
})
const allUp = PODS.flatMap(pod => PORTS.map(port => target(pod, port)))

const fileOf = (namespace = '', name = '') => `/etc/prometheus/rules/prometheus-prometheus-rulefiles-0/${namespace}-${name}-c0ffee.yaml`

const groups = manifests
  .filter(({ kind }) => kind === 'PrometheusRule')
  .flatMap(({ metadata, spec }) =>
    (spec as { groups: { name: string; rules: object[] }[] }).groups.map(({ name, rules }) => ({
      name,
      file: fileOf(metadata.namespace, metadata.name),
      rules: rules.map((_, index) => ({ name: `${name}-${index}`, health: 'ok' })),
    })),
  )

/** An alert as Alertmanager has it that Prometheus told some minutes ago. */
const toldBefore = (minutes: number) => ({ updatedAt: new Date(Date.now() - minutes * 60_000).toISOString() })

interface Answers {
  targets?: () => object[]
  rules?: () => object[]
  alerts?: (filter: string | null) => object[]
}

/** acme with two pods of bookings that run since long ago, and what its Prometheus and its Alertmanager say. */
async function clusterWith({ targets = () => allUp, rules = () => groups, alerts = () => [toldBefore(1)] }: Answers) {
  const fake = fakeCluster()
  for (const name of PODS) fake.put(podOf('booking', { name }))
  for (const name of ['prometheus', 'alertmanager']) fake.put(podOf(name, { namespace: 'observability' }))
  let asked = 0
  const note = <T>(answer: T): T => {
    asked++
    return answer
  }
  const prometheus = {
    '/api/v1/targets': (query: URLSearchParams) => note(Response.json({ data: { activeTargets: query.get('state') === 'active' ? targets() : [] } })),
    '/api/v1/rules': () => note(Response.json({ data: { groups: rules() } })),
  }
  const alertmanager = { '/api/v2/alerts': (query: URLSearchParams) => note(Response.json(alerts(query.get('filter')))) }
  fake.listening.set('observability/prometheus-a:9090', await answering(prometheus))
  fake.listening.set('observability/alertmanager-a:9093', await answering(alertmanager))
  return { fake, asked: () => asked }
}

const run = (fake: FakeCluster, name: string, signal?: AbortSignal) => runCheck(metricsChecks(contextOf(fake)), name, signal)

const changedNow = (live: Live | undefined, more: object = {}) => {
  if (!live) throw new Error('it is not there')
  live.metadata.managedFields = [
    { manager: 'fairlead', time: LONG_AGO },
    { manager: 'kubectl', time: new Date().toISOString(), ...more },
  ]
}

/** A pod with which the network is looked at, while it is. */
const lookingNow = (): Live => {
  const pod = podOf('booking', { name: 'looking', ready: false })
  pod.metadata.labels['fairlead.dev/probe'] = 'true'
  pod.status.startTime = new Date().toISOString()
  return pod
}

test('every ServiceMonitor has a check, and is skipped where there is no Prometheus', async () => {
  const names = metricsChecks(contextOf(fakeCluster())).map(({ name }) => name)
  const monitored = ['traefik', 'prometheus-operator', 'prometheus', 'alertmanager', 'jaeger', 'hello', 'stock', 'booking']
  expect(names).toEqual([...monitored.map(name => `scrape of ${name}`), 'rules', 'alert path'])
  const services = manifests.filter(({ metadata }) => metadata.namespace === 'acme')
  for (const name of ['scrape of booking', 'rules']) {
    const check = runCheck(metricsChecks(contextOf(fakeCluster(services), { manifests: services })), name)
    await expect(check).rejects.toEqual(new NotHere('there is no prometheus in namespace observability'))
  }
})

describe('scrape of a program', () => {
  test('is good when every port of every ready pod is up', async () => {
    const { fake } = await clusterWith({ targets: () => [...allUp, target('booking-gone', 'admin', { health: 'down' })] })
    fake.put(podOf('booking', { name: 'booking-starting', ready: false }))
    expect(await run(fake, 'scrape of booking')).toBe('4 targets up')
  })

  test('counts one target as one', async () => {
    const ofPrometheus = { labels: { job: 'prometheus', namespace: 'observability', pod: 'prometheus-a', endpoint: 'web' } }
    const { fake } = await clusterWith({ targets: () => [target('prometheus-a', 'web', ofPrometheus)] })
    expect(await run(fake, 'scrape of prometheus')).toBe('1 target up')
  })

  test('names the ServiceMonitor that is not as the graph gives it, and does not wait for it', async () => {
    const { fake, asked } = await clusterWith({ targets: () => [] })
    fake.edit('ServiceMonitor acme/booking', live => {
      live.spec.selector.matchLabels['app.kubernetes.io/name'] = 'bookin'
      changedNow(live)
    })
    await expect(run(fake, 'scrape of booking')).rejects.toMatchObject({
      message:
        'Prometheus does not know booking-a (admin) as a target, nor 3 more of booking; the cause: ServiceMonitor acme/booking: spec.selector.matchLabels.app.kubernetes.io/name is "bookin", the graph says "booking"',
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
    expect(asked()).toBe(1)
  })

  test.each([
    'Service acme/booking-pods',
    'NetworkPolicy acme/booking',
    'NetworkPolicy observability/prometheus',
    'Prometheus observability/prometheus',
    'RoleBinding acme/prometheus',
  ])('is blamed on %s when that is gone', async name => {
    const { fake } = await clusterWith({ targets: () => [] })
    fake.objects.delete(name)
    await expect(run(fake, 'scrape of booking')).rejects.toThrow(`nor 3 more of booking; the cause: ${name}: not there`)
  })

  test('is not blamed on what others are made of, and says what Prometheus selects by', async () => {
    const { fake } = await clusterWith({ targets: () => allUp.slice(1) })
    for (const name of ['ServiceMonitor acme/stock', 'Service acme/stock-pods', 'NetworkPolicy acme/stock', 'Deployment acme/booking'])
      fake.objects.delete(name)
    await expect(run(fake, 'scrape of booking')).rejects.toMatchObject({
      message: 'Prometheus does not know booking-a (admin) as a target',
      remedy: {
        advice: 'does Prometheus select it? MONITORING_LABELS is {}',
        commands: ['kubectl --context kind-test -n acme describe servicemonitor booking'],
      },
    })
  })

  test('tells why a target is down', async () => {
    const down = target('booking-b', 'admin', { health: 'down', lastError: 'context deadline exceeded' })
    const { fake } = await clusterWith({
      targets: () => [...allUp.filter(({ labels }) => labels.pod === 'booking-a'), down, target('booking-b', PORTS[1] as string)],
    })
    await expect(run(fake, 'scrape of booking')).rejects.toThrow(/^Prometheus cannot scrape booking-b \(admin\): context deadline exceeded$/)
  })

  test.each([
    ['another job', { job: 'stock' }],
    ['another namespace', { namespace: 'other' }],
  ])('is not taken from %s', async (_, labels) => {
    const { fake } = await clusterWith({ targets: () => allUp.map(known => ({ ...known, labels: { ...known.labels, ...labels } })) })
    await expect(run(fake, 'scrape of booking')).rejects.toThrow('Prometheus does not know booking-a (admin) as a target, nor 3 more of booking')
  })

  test('is not there without a ready pod', async () => {
    const { fake } = await clusterWith({})
    for (const name of PODS) fake.objects.delete(`Pod acme/${name}`)
    await expect(run(fake, 'scrape of booking')).rejects.toMatchObject({
      message: 'acme/booking has no ready pod to scrape',
      remedy: toRun('npx fairlead status --context kind-test'),
    })
  })
})

describe('a change that may still be on its way', () => {
  const unknown = (name: string) => target(name, 'admin', { health: 'unknown' })

  /** Targets that come up at the third look. */
  async function comingUp() {
    skipPauses()
    let looks = 0
    return clusterWith({ targets: () => (++looks < 3 ? [unknown('booking-a')] : allUp) })
  }

  test.each<[string, (fake: FakeCluster) => void]>([
    [
      'a pod that has just started',
      fake => fake.edit('Pod acme/booking-b', ({ status }) => Object.assign(status, { startTime: new Date().toISOString() })),
    ],
    [
      'a Prometheus that has just started',
      fake => fake.edit('Pod observability/prometheus-a', ({ status }) => Object.assign(status, { startTime: new Date().toISOString() })),
    ],
    ['an object that somebody has just put back', fake => changedNow(fake.objects.get('NetworkPolicy acme/booking'))],
  ])('is waited for: %s', async (_, change) => {
    const { fake, asked } = await comingUp()
    change(fake)
    expect(await run(fake, 'scrape of booking')).toBe('4 targets up')
    expect(asked()).toBe(3)
  })

  test.each<[string, (fake: FakeCluster) => void]>([
    ['nothing has changed', () => {}],
    ['a controller has written a status', fake => changedNow(fake.objects.get('Prometheus observability/prometheus'), { subresource: 'status' })],
    ['something else has changed', fake => changedNow(fake.objects.get('NetworkPolicy acme/stock'))],
    ['a pod looks at the network', fake => fake.put(lookingNow())],
  ])('is not waited for: %s', async (_, change) => {
    const { fake } = await comingUp()
    change(fake)
    await expect(run(fake, 'scrape of booking')).rejects.toThrow('Prometheus cannot scrape booking-a (admin): it has not tried yet')
  })

  test('is waited for up to two minutes', async () => {
    skipPauses()
    const { fake, asked } = await clusterWith({ targets: () => [unknown('booking-a')] })
    changedNow(fake.objects.get('Service acme/booking-pods'))
    await expect(run(fake, 'scrape of booking')).rejects.toThrow('it has not tried yet')
    expect(asked()).toBeGreaterThan(100)
    expect(asked()).toBeLessThan(125)
  })

  test('is not waited for once it is interrupted', async () => {
    const { fake } = await clusterWith({ targets: () => [] })
    changedNow(fake.objects.get('Service acme/booking-pods'))
    await expect(run(fake, 'scrape of booking', AbortSignal.abort(new Error('Ctrl-C')))).rejects.toThrow('Ctrl-C')
  })
})

describe('rules', () => {
  test('are all evaluated, and those of others do not matter, whatever they are called', async () => {
    const broken = [{ name: 'x', health: 'err' }]
    const others = [
      { name: 'theirs', file: fileOf('acme', 'theirs'), rules: broken },
      { name: 'booking-slo', file: fileOf('elsewhere', 'booking'), rules: broken },
    ]
    const { fake } = await clusterWith({ rules: () => [...others, ...groups] })
    const count = groups.reduce((sum, { rules }) => sum + rules.length, 0)
    expect(count).toBeGreaterThan(60)
    expect(await run(fake, 'rules')).toBe(`${count} in ${groups.length} groups, all evaluated`)
  })

  test('that are missing are named, with what is not as the graph gives it', async () => {
    const ofOthers = { name: 'booking-slo', file: fileOf('elsewhere', 'booking'), rules: [] }
    const { fake } = await clusterWith({ rules: () => [ofOthers, ...groups.filter(({ name }) => !name.startsWith('booking-'))] })
    fake.objects.delete('PrometheusRule acme/booking')
    await expect(run(fake, 'rules')).rejects.toMatchObject({
      message:
        'Prometheus has no rules booking-slo, booking-budget, booking-health: nothing would alert; the cause: PrometheusRule acme/booking: not there',
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })

  test.each([
    ['many-to-many matching not allowed', 'err'],
    ['not yet', 'unknown'],
  ])('that are not evaluated are told: %s', async (says, health) => {
    const broken = {
      name: 'stock-slo',
      file: fileOf('acme', 'stock'),
      rules: [{ name: 'StockErrors', health, ...(health === 'err' && { lastError: says }) }],
    }
    const { fake } = await clusterWith({ rules: () => [...groups.filter(({ name }) => name !== 'stock-slo'), broken] })
    await expect(run(fake, 'rules')).rejects.toMatchObject({
      message: `rule StockErrors is not evaluated: ${says}`,
      remedy: toRun('kubectl --context kind-test -n observability logs prometheus-prometheus-0'),
    })
  })

  test('that somebody has just put back are waited for', async () => {
    skipPauses()
    let looks = 0
    const { fake } = await clusterWith({ rules: () => (++looks < 3 ? [] : groups) })
    changedNow(fake.objects.get('PrometheusRule acme/booking'))
    expect(await run(fake, 'rules')).toContain('all evaluated')
  })
})

describe('alert path', () => {
  test('is whole when the alert that fires always is in Alertmanager', async () => {
    const { fake } = await clusterWith({ alerts: filter => (filter === 'alertname="Watchdog"' ? [toldBefore(10), toldBefore(2)] : []) })
    expect(await run(fake, 'alert path')).toBe('Watchdog is in Alertmanager')
  })

  test.each(['Alertmanager', 'Prometheus', 'PrometheusRule', 'NetworkPolicy', 'Service'])('is blamed on the %s that is gone', async kind => {
    const { fake } = await clusterWith({ alerts: () => [] })
    fake.objects.delete(`${kind} observability/${kind === 'Alertmanager' ? 'alertmanager' : 'prometheus'}`)
    await expect(run(fake, 'alert path')).rejects.toThrow(
      new RegExp(`^Watchdog, which fires always, has not come to Alertmanager: no other alert would; the cause: ${kind} observability/`),
    )
  })

  test('is broken when Alertmanager only remembers the alert', async () => {
    const { fake } = await clusterWith({ alerts: () => [toldBefore(4)] })
    await expect(run(fake, 'alert path')).rejects.toThrow('Watchdog, which fires always, has not come to Alertmanager')
  })

  test('is broken somewhere else: Prometheus knows more', async () => {
    const { fake } = await clusterWith({ alerts: () => [] })
    fake.objects.delete('PrometheusRule acme/booking')
    await expect(run(fake, 'alert path')).rejects.toMatchObject({
      message: 'Watchdog, which fires always, has not come to Alertmanager: no other alert would',
      remedy: toRun('kubectl --context kind-test -n observability logs prometheus-prometheus-0'),
    })
  })

  test('has nobody at its end', async () => {
    const { fake } = await clusterWith({})
    fake.objects.delete('Pod observability/alertmanager-a')
    await expect(run(fake, 'alert path')).rejects.toThrow('observability/alertmanager has no pod')
  })
})
