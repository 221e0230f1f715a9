import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ApiError } from '../../../scripts/cluster/rest.ts'
import { contradiction, createDrift } from '../../../scripts/doctor/drift.ts'
import { fakeCluster, manifests } from '../../support/fake-cluster.ts'

describe('contradiction(wanted, live)', () => {
  test.each<[string, object, object, string | undefined]>([
    ['nothing, of the same', { spec: { replicas: 2, names: ['a'] } }, { spec: { replicas: 2, names: ['a'] } }, undefined],
    ['nothing, of members in another booking', { a: 1, b: 2 }, { b: 2, a: 1 }, undefined],
    ['nothing, of an empty list, which the API server leaves out', { spec: { args: [] } }, { spec: {} }, undefined],
    [
      'a value that is another',
      { spec: { selector: { app: 'booking' } } },
      { spec: { selector: { app: 'bookin' } } },
      'spec.selector.app is "bookin", the graph says "booking"',
    ],
    ['a value of another type', { spec: { port: 80 } }, { spec: { port: '80' } }, 'spec.port is "80", the graph says 80'],
    ['a member that is missing', { spec: { replicas: 2 } }, { spec: {} }, 'spec.replicas is absent, the graph says 2'],
    ['an object that is missing', { spec: { selector: {} } }, { spec: {} }, 'spec.selector is absent, the graph says {}'],
    ['no object', { spec: { selector: {} } }, { spec: { selector: null } }, 'spec.selector is null, the graph says {}'],
    ['an object instead of a list', { spec: ['a'] }, { spec: { 0: 'a' } }, 'spec is {"0":"a"}, the graph says ["a"]'],
    ['a list instead of an object', { spec: { 0: 'a' } }, { spec: ['a'] }, 'spec is ["a"], the graph says {"0":"a"}'],
    ['a list that is longer', { spec: { ports: [1] } }, { spec: { ports: [1, 2] } }, 'spec.ports has 2 entries, the graph says 1'],
    ['a list that is shorter', { spec: { ports: [1, 2] } }, { spec: { ports: [1] } }, 'spec.ports has 1 entries, the graph says 2'],
    [
      'an entry of a list',
      { ports: [{ name: 'http' }, { name: 'admin' }] },
      { ports: [{ name: 'http' }, { name: 'x' }] },
      'ports.1.name is "x", the graph says "admin"',
    ],
    ['only the first of several', { a: 1, b: 1 }, { a: 2, b: 2 }, 'a is 2, the graph says 1'],
    ['a text that is long, cut short', { data: 'a'.repeat(90) }, { data: '' }, `data is "", the graph says "${'a'.repeat(79)}...`],
    [
      'nothing, of what the API server keeps elsewhere',
      { stringData: { a: 'b' }, status: { replicas: 1 } },
      { data: { a: 'Yg==' }, status: {} },
      undefined,
    ],
    ["a status that is not the object's own", { spec: { status: 'on' } }, { spec: { status: 'off' } }, 'spec.status is "off", the graph says "on"'],
    [
      'a label more in what selects',
      { spec: { selector: { app: 'a' } } },
      { spec: { selector: { app: 'a', tier: 'b' } } },
      'spec.selector.tier is "b", the graph does not have it',
    ],
    [
      'a label more in what matches',
      { matchLabels: { app: 'a' } },
      { matchLabels: { app: 'a', tier: 'b' } },
      'matchLabels.tier is "b", the graph does not have it',
    ],
    [
      'something more in a selector of everything',
      { spec: { podSelector: {} } },
      { spec: { podSelector: { matchLabels: { app: 'a' } } } },
      'spec.podSelector.matchLabels is {"app":"a"}, the graph does not have it',
    ],
    [
      'a selector that is a text',
      { spec: { labelSelector: 'app=a' } },
      { spec: { labelSelector: 'app=b' } },
      'spec.labelSelector is "app=b", the graph says "app=a"',
    ],
    [
      'nothing, of a label more that selects nothing',
      { metadata: { labels: { app: 'a' } } },
      { metadata: { labels: { app: 'a', tier: 'b' } } },
      undefined,
    ],
    [
      'nothing, of a quantity that is written otherwise',
      { resources: { limits: { cpu: '1000m' }, requests: { memory: '1024Mi' } } },
      { resources: { limits: { cpu: '1' }, requests: { memory: '1Gi' } } },
      undefined,
    ],
    [
      'a quantity that is another',
      { resources: { limits: { cpu: '1000m' } } },
      { resources: { limits: { cpu: '1m' } } },
      'resources.limits.cpu is "1m", the graph says "1000m"',
    ],
    [
      'no quantity',
      { resources: { limits: { cpu: '0' } } },
      { resources: { limits: { cpu: 'lots' } } },
      'resources.limits.cpu is "lots", the graph says "0"',
    ],
    ['what only looks like a quantity', { data: { size: '1024Mi' } }, { data: { size: '1Gi' } }, 'data.size is "1Gi", the graph says "1024Mi"'],
    [
      'a variable without its value, which may be secret',
      { container: { env: [{ name: 'A', value: 'b' }] } },
      { container: { env: [{ name: 'A', value: 'hunter2' }] } },
      'container.env.0.value is not what the graph says',
    ],
    [
      'an argument without its value, which may be secret',
      { container: { args: ['--port', '1'] } },
      { container: { args: ['--port', 'hunter2'] } },
      'container.args.1 is not what the graph says',
    ],
  ])('names %s', (_, wanted, live, found) => {
    expect(contradiction(wanted, live)).toBe(found)
  })

  const value = fc.letrec(tie => ({
    any: fc.oneof({ maxDepth: 4 }, tie('leaf'), tie('object'), fc.array(tie('any'), { maxLength: 3 })),
    leaf: fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)),
    object: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), tie('any'), { maxKeys: 3 }),
  }))

  /** With members that nobody asked for, in every object. */
  const withDefaults = (given: unknown): unknown => {
    if (typeof given !== 'object' || given === null) return given
    if (Array.isArray(given)) return given.map(withDefaults)
    const kept = Object.fromEntries(Object.entries(given).map(([key, member]) => [key, withDefaults(member)]))
    return { uid: 'c0ffee', ...kept, defaults: [{ added: true }] }
  }

  test('ignores whatever the API server has added', () => {
    fc.assert(
      fc.property(value.object, wanted => {
        expect(contradiction(wanted, withDefaults(wanted))).toBeUndefined()
      }),
    )
  })

  test('finds whatever was taken away', () => {
    fc.assert(
      fc.property(value.object, wanted => {
        for (const [key, member] of Object.entries(wanted as object)) {
          if (Array.isArray(member) && member.length === 0) continue
          const { [key]: _, ...rest } = withDefaults(wanted) as Record<string, unknown>
          expect(contradiction(wanted, rest)).toMatch(new RegExp(`^${key} is absent, the graph says `))
        }
      }),
    )
  })
})

describe('createDrift(cluster, manifests)', () => {
  const about =
    (...names: string[]) =>
    ({ kind, metadata }: { kind: string; metadata: { name: string } }) =>
      names.includes(`${kind} ${metadata.name}`)

  test('finds nothing in a cluster that has every object as the graph gives it', async () => {
    expect(await createDrift(fakeCluster().cluster, manifests)(() => true)).toEqual([])
  })

  test('names every object that is not, and how', async () => {
    const fake = fakeCluster()
    fake.objects.delete('NetworkPolicy acme/booking')
    fake.edit('Service acme/booking', ({ spec }) => {
      spec.ports[0].port = 1
    })
    expect(await createDrift(fake.cluster, manifests)(() => true)).toEqual([
      { object: 'Service acme/booking', difference: 'spec.ports.0.port is 1, the graph says 8082' },
      { object: 'NetworkPolicy acme/booking', difference: 'not there' },
    ])
  })

  test('names a policy that was opened by a direction more', async () => {
    const fake = fakeCluster()
    fake.edit('NetworkPolicy observability/grafana', ({ spec }) => {
      spec.ingress = [{}]
    })
    expect(await createDrift(fake.cluster, manifests)(() => true)).toEqual([
      { object: 'NetworkPolicy observability/grafana', difference: 'spec.ingress is [{}], the graph does not have it' },
    ])
  })

  test('names workloads that somebody has stopped, and no number of pods that an autoscaler has chosen', async () => {
    const fake = fakeCluster()
    fake.edit('Deployment acme/booking', ({ spec }) => {
      spec.replicas = 0
    })
    fake.edit('Deployment acme/stock', ({ spec }) => {
      spec.replicas = 5
    })
    fake.edit('Prometheus observability/prometheus', ({ spec }) => {
      spec.paused = true
    })
    expect(await createDrift(fake.cluster, manifests)(() => true)).toEqual([
      { object: 'Prometheus observability/prometheus', difference: 'spec.paused is true' },
      { object: 'Deployment acme/booking', difference: 'spec.replicas is 0' },
    ])
  })

  test('looks at nothing but what is asked about', async () => {
    const fake = fakeCluster([])
    expect(await createDrift(fake.cluster, manifests)(about('Service booking', 'Namespace acme'))).toEqual([
      { object: 'Namespace acme', difference: 'not there' },
      { object: 'Service acme/booking', difference: 'not there' },
    ])
  })

  test('names what the API server does not show, and why', async () => {
    const { cluster } = fakeCluster()
    const closed = { ...cluster, read: () => Promise.reject(new ApiError(403, 'services is forbidden')) }
    expect(await createDrift(closed, manifests)(about('Service booking'))).toEqual([
      { object: 'Service acme/booking', difference: 'cannot be read: services is forbidden' },
    ])
  })

  test('fails when the API server does not answer', async () => {
    const { cluster } = fakeCluster()
    const gone = { ...cluster, read: () => Promise.reject(new Error('ECONNREFUSED')) }
    await expect(createDrift(gone, manifests)(about('Service booking'))).rejects.toThrow('ECONNREFUSED')
  })
})
