import { describe, expect, test } from 'vitest'
import { NotHere } from '../../../scripts/doctor/check.ts'
import { until } from '../../../scripts/doctor/context.ts'
import { toRun } from '../../../scripts/remedy.ts'
import { answering, contextOf, fakeCluster, hangingUp, podOf, type Routes, skipPauses } from '../../support/fake-cluster.ts'

const PROMETHEUS = { name: 'prometheus', namespace: 'observability', port: 9_090 }
const prometheusPod = (options: { name?: string; ready?: boolean } = {}) => podOf('prometheus', { namespace: 'observability', ...options })

/** A cluster whose Prometheus is some program. */
function withPrometheus(url: string) {
  const fake = fakeCluster()
  fake.put(prometheusPod())
  fake.listening.set('observability/prometheus-a:9090', url)
  return { fake, context: contextOf(fake) }
}

const asking = async (routes: Routes) => withPrometheus(await answering(routes)).context

describe('pods(name, namespace)', () => {
  test('are the ready pods of that program, but for those that leave', async () => {
    const fake = fakeCluster([])
    const leaving = podOf('booking', { name: 'booking-leaving' })
    leaving.metadata.deletionTimestamp = '2026-01-01T00:00:00Z'
    fake.put(
      podOf('booking'),
      podOf('booking', { name: 'booking-b', ready: false }),
      leaving,
      podOf('stock'),
      podOf('booking', { namespace: 'other' }),
    )
    expect((await contextOf(fake).pods('booking', 'acme')).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual([
      'acme/booking-a',
    ])
  })
})

describe('ask(program, path)', () => {
  test('gives JSON as it is meant, and everything else as text', async () => {
    const context = await asking({
      '/json': query => Response.json({ data: query.get('of') }),
      '/text': () => new Response('{"data":1}', { headers: { 'content-type': 'text/plain' } }),
    })
    expect(await context.ask(PROMETHEUS, '/json?of=booking')).toEqual({ data: 'booking' })
    expect(await context.ask(PROMETHEUS, '/text')).toBe('{"data":1}')
  })

  test('asks a ready pod', async () => {
    const fake = fakeCluster()
    fake.put(prometheusPod({ ready: false }), prometheusPod({ name: 'prometheus-b' }))
    fake.listening.set('observability/prometheus-b:9090', await answering({ '/': () => Response.json('b') }))
    expect(await contextOf(fake).ask(PROMETHEUS, '/')).toBe('b')
  })

  test('forwards the port once for all that ask, until it is closed', async () => {
    const { fake, context } = withPrometheus(await answering({ '/': () => Response.json(1) }))
    await Promise.all([context.ask(PROMETHEUS, '/'), context.ask(PROMETHEUS, '/')])
    expect(fake.forwarded).toEqual(['observability/prometheus-a:9090'])
    await context.close()
    expect(fake.forwarded).toEqual([])
  })

  test('forwards a port anew when a pod is there that was not', async () => {
    const { fake, context } = withPrometheus(await answering({ '/': () => Response.json(1) }))
    fake.edit('Pod observability/prometheus-a', ({ status }) => Object.assign(status.conditions[0], { status: 'False' }))
    await expect(context.ask(PROMETHEUS, '/')).rejects.toThrow('observability/prometheus has no ready pod')
    fake.edit('Pod observability/prometheus-a', ({ status }) => Object.assign(status.conditions[0], { status: 'True' }))
    expect(await context.ask(PROMETHEUS, '/')).toBe(1)
  })

  test('is closed though a port could not be forwarded', async () => {
    const { context, fake } = withPrometheus(await answering({ '/': () => Response.json(1) }))
    await context.ask({ ...PROMETHEUS, port: 1 }, '/').catch(() => {})
    await context.ask(PROMETHEUS, '/')
    await context.close()
    expect(fake.forwarded).toEqual([])
  })

  test('skips what is not here: no pod, and none is wanted', async () => {
    const context = contextOf(fakeCluster([]), { manifests: [] })
    await expect(context.ask(PROMETHEUS, '/')).rejects.toEqual(new NotHere('there is no prometheus in namespace observability'))
  })

  test.each([
    ['no pod', []],
    ['no ready pod', [prometheusPod({ ready: false })]],
  ])('says that there is %s', async (what, pods) => {
    const fake = fakeCluster()
    fake.put(...pods)
    await expect(contextOf(fake).ask(PROMETHEUS, '/')).rejects.toMatchObject({
      message: `observability/prometheus has ${what}`,
      remedy: toRun('npx fairlead status --context kind-test', 'npx fairlead deploy --context kind-test'),
    })
  })

  test('says that a pod of a program that the graph does not have is not ready', async () => {
    const fake = fakeCluster([prometheusPod({ ready: false })])
    await expect(contextOf(fake, { manifests: [] }).ask(PROMETHEUS, '/')).rejects.toThrow('observability/prometheus has no ready pod')
  })

  test('says who does not answer and where to look', async () => {
    const { context } = withPrometheus(await hangingUp())
    await expect(context.ask(PROMETHEUS, '/')).rejects.toMatchObject({
      name: 'CommandError',
      message: 'observability/prometheus:9090 does not answer (other side closed)',
      remedy: toRun('kubectl --context kind-test -n observability logs -l app.kubernetes.io/name=prometheus'),
    })
  })

  test('says what was refused, without the query', async () => {
    const context = await asking({ '/api/v1/query': () => new Response(`out of memory\n${'x'.repeat(300)}`, { status: 503 }) })
    await expect(context.ask(PROMETHEUS, '/api/v1/query?query=up')).rejects.toMatchObject({
      name: 'CommandError',
      message: `observability/prometheus:9090/api/v1/query answered 503: out of memory\n${'x'.repeat(186)}`,
    })
  })
})

describe('blame(symptom, about, otherwise)', () => {
  const policies = ({ kind, metadata }: { kind: string; metadata: { namespace?: string } }) =>
    kind === 'NetworkPolicy' && metadata.namespace === 'observability'

  test('names the objects that are not as the graph gives them, and puts them back', async () => {
    const fake = fakeCluster()
    fake.objects.delete('NetworkPolicy observability/jaeger')
    fake.objects.delete('NetworkPolicy acme/stock')
    expect(await contextOf(fake).blame('no traces', policies, { advice: 'look at the logs' })).toMatchObject({
      message: 'no traces; the cause: NetworkPolicy observability/jaeger: not there',
      causes: [{ object: 'NetworkPolicy observability/jaeger', difference: 'not there' }],
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })

  test('names three of many', async () => {
    const { message } = await contextOf(fakeCluster([])).blame('no traces', policies, { advice: 'look at the logs' })
    expect(message).toMatch(/^no traces; the cause: (NetworkPolicy observability\/\S+: not there; ){3}and 3 more$/)
  })

  test('names three as they are', async () => {
    const fake = fakeCluster()
    for (const name of ['default-deny', 'jaeger', 'grafana']) fake.objects.delete(`NetworkPolicy observability/${name}`)
    const { message } = await contextOf(fake).blame('no traces', policies, { advice: 'look at the logs' })
    expect(message).toMatch(/grafana: not there$/)
  })

  test('says what else to do when all are', async () => {
    const trouble = await contextOf(fakeCluster()).blame('no traces', policies, { advice: 'look at the logs' })
    expect(trouble).toMatchObject({ message: 'no traces', causes: [], remedy: { advice: 'look at the logs' } })
  })
})

describe('until(ask, good, timeoutMs, signal)', () => {
  const counting = () => {
    let asked = 0
    return async () => ++asked
  }
  const { signal } = new AbortController()

  test('asks every second, up to the first good answer', async () => {
    skipPauses()
    expect(await until(counting(), answer => answer === 3, 60_000, signal)).toBe(3)
  })

  test('gives the last answer when the time is over', async () => {
    skipPauses()
    expect(await until(counting(), () => false, 4_500, signal)).toBe(6)
  })

  test('asks once when there is no time', async () => {
    expect(await until(counting(), () => true, 0, signal)).toBe(1)
  })

  test('stops when it is interrupted', async () => {
    const interrupt = new AbortController()
    const ask = async () => interrupt.abort(new Error('Ctrl-C'))
    await expect(until(ask, () => false, 60_000, interrupt.signal)).rejects.toThrow('Ctrl-C')
  })
})
