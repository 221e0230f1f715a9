import { describe, expect, test } from 'vitest'
import { refuseImpossible, refuseImpossibleGraph } from '../../../infra/kit/checks/refuse.ts'
import { Refused, type Subject } from '../../../infra/kit/checks/refused.ts'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import type { Operation } from '../../../services/chassis/contract/contract.ts'
import type { ServiceDefinition } from '../../../services/chassis/contract/graph.ts'
import { order, project, system, user } from '../../support/graph.ts'

const settings = loadSettings({}, system)
const context = { ...project, settings, images: { user: 'fairlead/user:1', order: 'fairlead/order:1' } }
const { own, platform } = synthesize(context)

/** The shipped system with an edit: of its services, of its objects, or of its settings. */
const shipped = (edit: Partial<Subject> = {}): Subject => ({ ...context, objects: structuredClone([...platform, ...own]), ...edit })

const withServices = (...services: ServiceDefinition[]) => shipped({ system: { ...system, services } })

/** The user service with further operations, each public and a GET unless it says otherwise. */
const withOperations = (operations: Record<string, Pick<Operation, 'path'> & Partial<Operation>>) =>
  withServices(
    {
      ...user,
      contract: {
        ...user.contract,
        ...Object.fromEntries(Object.entries(operations).map(([name, edit]) => [name, { ...user.contract.getMe, ...edit }])),
      },
    },
    order,
  )

// biome-ignore lint/suspicious/noExplicitAny: edits reach into objects of many kinds
function withObject(kind: string, name: string, edit: (object: any) => void): Subject {
  const subject = shipped()
  const object = subject.objects.find(candidate => candidate.kind === kind && candidate.metadata.name === name)
  if (!object) throw new Error(`there is no ${kind} ${name}`)
  edit(object)
  return subject
}

const problemsOf = (subject: Subject): readonly string[] => {
  try {
    refuseImpossible(subject)
    return []
  } catch (error) {
    if (error instanceof Refused) return error.problems
    throw error
  }
}

const container = (object: { spec: { template: { spec: { containers: Record<string, unknown>[] } } } }) =>
  object.spec.template.spec.containers[0] as Record<string, never>

const edge = order.calls[0]
const ring = () => {
  const a = { ...user, name: 'a', port: 7_001, contract: {}, calls: [] as ServiceDefinition['calls'] }
  const b: ServiceDefinition = { ...user, name: 'b', port: 7_002, contract: {}, calls: [{ to: a, mode: 'optional', attemptTimeoutMs: 100 }] }
  a.calls = [{ to: b, mode: 'optional', attemptTimeoutMs: 100 }]
  return [a, b]
}

describe('synth', () => {
  test('has nothing to refuse in the shipped system', () => {
    expect(problemsOf(shipped())).toEqual([])
    expect(platform.length + own.length).toBeGreaterThan(40)
  })

  // Each row is the smallest step over the edge, and beside it the last step before.
  test.each<[string, Subject, Subject, string[]]>([
    [
      'a preStop and drain that exceed the grace period',
      withObject('Deployment', 'user', d => Object.assign(d.spec.template.spec, { terminationGracePeriodSeconds: 25 })),
      withObject('Deployment', 'user', d => Object.assign(d.spec.template.spec, { terminationGracePeriodSeconds: 26 })),
      ['Deployment user: preStop 5000 ms + drain 21000 ms exceed terminationGracePeriodSeconds 25: pods would be killed with requests in flight'],
    ],
    [
      "a caller's timeout below its callee's",
      withServices({ ...user, timeoutMs: 2_001 }, { ...order, calls: [{ ...edge, to: { ...user, timeoutMs: 2_001 } }] }),
      withServices({ ...user, timeoutMs: 2_000 }, { ...order, calls: [{ ...edge, to: { ...user, timeoutMs: 2_000 } }] }),
      ["order -> user: the caller's timeoutMs 2000 (services/order/service.ts) is below its callee's 2001 (services/user/service.ts)"],
    ],
    [
      'retries that do not fit into the deadline',
      withServices(user, { ...order, calls: [{ ...edge, attemptTimeoutMs: 988 }] }),
      withServices(user, { ...order, calls: [{ ...edge, attemptTimeoutMs: 987 }] }),
      [
        'order -> user: 2 attempts of 988 ms and 25 ms of backoff (calls in services/order/service.ts) take 2001 ms, more than timeoutMs 2000 of the same file',
      ],
    ],
    [
      'a keep-alive below the ingress idle timeout',
      shipped({ settings: { ...settings, INGRESS_IDLE_MS: 95_000 } }),
      shipped({ settings: { ...settings, INGRESS_IDLE_MS: 94_999 } }),
      [
        "the services' keep-alive of 95000 ms is not above the ingress idle timeout 95000 ms (INGRESS_IDLE_MS): the ingress would send on closed connections and answer 502",
      ],
    ],
    [
      'proxies in front of the bundled ingress whose addresses nobody says',
      shipped({ settings: { ...settings, TRUSTED_HOPS: 2 } }),
      shipped({ settings: { ...settings, TRUSTED_HOPS: 2, TRUSTED_PROXIES: ['10.0.0.0/8'] } }),
      [
        'TRUSTED_HOPS 2 with no TRUSTED_PROXIES: the bundled ingress drops what the proxies in front say of their clients unless it knows where they are',
      ],
    ],
    [
      'a bundled ingress that is no hop',
      shipped({ settings: { ...settings, TRUSTED_HOPS: 0 } }),
      shipped({ settings: { ...settings, TRUSTED_HOPS: 0, PLATFORM: 'existing' } }),
      ['TRUSTED_HOPS 0 with PLATFORM bundled: the bundled ingress is a hop, and every client would have its address'],
    ],
    [
      'an SLO above that of a required dependency',
      withServices(user, { ...order, slo: { ...order.slo, availability: 0.9995 }, calls: [{ ...edge, mode: 'required' }] }),
      withServices(user, { ...order, slo: { ...order.slo, availability: 0.9995 } }),
      [
        'order -> user: availability 0.9995 (services/order/service.ts) is above 0.999 of a callee that it requires (services/user/service.ts): lower it, or make the edge optional',
      ],
    ],
    [
      'a burn alert that can never fire',
      withServices({ ...user, slo: { ...user.slo, latency: { thresholdMs: 250, objective: 0.93 } } }, order),
      withServices({ ...user, slo: { ...user.slo, latency: { thresholdMs: 250, objective: 0.931 } } }, order),
      [
        'user: slo.latency.objective 0.93 (services/user/service.ts) makes the burn alert of 14.4 times ask for 1.01 of all requests: it could never tell anything',
      ],
    ],
    [
      'an objective without a budget',
      withServices({ ...user, slo: { ...user.slo, availability: 1 } }, { ...order, calls: [edge] }),
      withServices({ ...user, slo: { ...user.slo, availability: 0.99999 } }, order),
      ['user: slo.availability 1 (services/user/service.ts) leaves no budget to burn: it could never tell anything'],
    ],
    [
      'a disruption budget that blocks every drain',
      withObject('PodDisruptionBudget', 'user', pdb => Object.assign(pdb.spec, { maxUnavailable: undefined, minAvailable: 2 })),
      withObject('PodDisruptionBudget', 'user', pdb => Object.assign(pdb.spec, { maxUnavailable: undefined, minAvailable: 1 })),
      ['PodDisruptionBudget user: minAvailable 2 with scale.min 2 (services/user/service.ts) blocks every drain of a node'],
    ],
    [
      'a disruption budget of zero',
      withObject('PodDisruptionBudget', 'order', pdb => Object.assign(pdb.spec, { maxUnavailable: 0 })),
      withObject('PodDisruptionBudget', 'order', pdb => Object.assign(pdb.spec, { maxUnavailable: 1 })),
      ['PodDisruptionBudget order: maxUnavailable 0 with scale.min 2 (services/order/service.ts) blocks every drain of a node'],
    ],
    [
      'limits below requests',
      withObject('Deployment', 'user', d => Object.assign(container(d), { resources: { requests: { cpu: '101m' }, limits: { cpu: '0.1' } } })),
      withObject('Deployment', 'user', d => Object.assign(container(d), { resources: { requests: { cpu: '100m' }, limits: { cpu: '0.1' } } })),
      ['Deployment user, container user: cpu limit 0.1 is below its request 101m (resources of its service.ts or construct)'],
    ],
    [
      'the tag latest',
      withObject('Deployment', 'user', d => Object.assign(container(d), { image: 'reg.example:5000/user:latest' })),
      withObject('Deployment', 'user', d => Object.assign(container(d), { image: 'reg.example:5000/user:1.0' })),
      [
        "Deployment user, container user: image 'reg.example:5000/user:latest' has the tag latest; pin one (IMAGE_TAG for services, IMAGES for others)",
      ],
    ],
    [
      'no tag',
      withObject('Deployment', 'user', d => Object.assign(container(d), { image: 'reg.example:5000/user' })),
      withObject('Deployment', 'user', d => Object.assign(container(d), { image: 'reg.example:5000/user@sha256:0' })),
      [
        "Deployment user, container user: image 'reg.example:5000/user' has the tag latest (none is named); pin one (IMAGE_TAG for services, IMAGES for others)",
      ],
    ],
    [
      'a tag that names no version',
      withObject('Deployment', 'user', d => Object.assign(container(d), { image: 'redis:7' })),
      withObject('Deployment', 'user', d => Object.assign(container(d), { image: 'redis:7@sha256:0' })),
      [
        "Deployment user, container user: image 'redis:7' has the tag 7, which may name another image tomorrow; say a whole version or a digest (IMAGES)",
      ],
    ],
    [
      'an image in place of a pinned one whose tag names no version',
      shipped({ settings: { ...settings, IMAGES: [{ name: 'node', reference: 'registry.example/node:24-slim' }] } }),
      shipped({ settings: { ...settings, IMAGES: [{ name: 'node', reference: 'registry.example/node:24.21-slim' }] } }),
      [
        "image 'registry.example/node:24-slim' of node has the tag 24-slim, which may name another image tomorrow; say a whole version or a digest (IMAGES)",
      ],
    ],
    [
      'an image in place of a pinned one that has no tag at all',
      shipped({ settings: { ...settings, IMAGES: [{ name: 'prometheus', reference: 'registry.example/prometheus' }] } }),
      shipped({ settings: { ...settings, IMAGES: [{ name: 'prometheus', reference: 'registry.example/prometheus@sha256:0' }] } }),
      [
        "image 'registry.example/prometheus' of prometheus has the tag latest (none is named), which may name another image tomorrow; say a whole version or a digest (IMAGES)",
      ],
    ],
    ['a cycle', withServices(...ring()), shipped(), ['a cycle of calls: a -> b -> a (calls in their service.ts)']],
    [
      'a port clash in a pod',
      withObject('Deployment', 'user', d => Object.assign(container(d), { ports: [{ name: 'http', containerPort: 8_888 }] })),
      withObject('Deployment', 'user', d =>
        Object.assign(container(d), {
          ports: [{ name: 'http', containerPort: 8_888, protocol: 'UDP' }],
        }),
      ),
      ['Deployment user: user and collector both listen on port 8888/TCP (port in service.ts, or their constructs)'],
    ],
    [
      'a ServiceMonitor whose labels match no Service',
      withObject('ServiceMonitor', 'user', m => Object.assign(m.spec.selector.matchLabels, { 'app.kubernetes.io/name': 'users' })),
      shipped(),
      ['ServiceMonitor shop/user: its labels {"app.kubernetes.io/name":"users"} match no Service in shop'],
    ],
    [
      'a ServiceMonitor whose port no Service has',
      withObject('ServiceMonitor', 'user', m => Object.assign(m.spec.endpoints[0], { port: 'metrics' })),
      shipped(),
      ["ServiceMonitor shop/user: port 'metrics' is none of http, http, admin, otel-metrics of the Services that it matches"],
    ],
    [
      'two services with one public path',
      withServices(user, { ...order, contract: { ...order.contract, stray: { ...user.contract.getMe, path: '/users/me' } } }),
      withServices(user, { ...order, contract: { ...order.contract, stray: { ...user.contract.getMe, path: '/users/me/orders' } } }),
      ["user's path /users/me and order's /users/me (contract.ts of each) overlap on the one host of the ingress"],
    ],
    [
      "a path under another service's prefix",
      withServices(user, { ...order, contract: { ...order.contract, stray: { ...user.contract.getMe, path: '/users/{id}' } } }),
      withServices(user, { ...order, contract: { ...order.contract, stray: { ...user.contract.getMe, path: '/usersandorders/{id}' } } }),
      ['', '/me', '/me/credit', '/me/password'].map(
        path => `user's path /users${path} and order's /users (contract.ts of each) overlap on the one host of the ingress`,
      ),
    ],
    [
      'an internal operation under a public prefix',
      withOperations({ one: { path: '/accounts/{id}' }, export: { path: '/accounts/export', internal: true } }),
      withOperations({ one: { path: '/accounts/{id}' }, export: { path: '/accounts-export', internal: true } }),
      [
        'user: export (GET /accounts/export, internal) would be reached from outside, for public operations open everything under /accounts (services/user/contract.ts): give it a path that none of theirs covers',
      ],
    ],
    [
      'an operation for workloads on a public path',
      withOperations({ all: { path: '/accounts' }, replace: { path: '/accounts', method: 'PUT', auth: 'workload' } }),
      withOperations({ all: { path: '/accounts' }, replace: { path: '/accounts/all', method: 'PUT', auth: 'workload' } }),
      [
        "user: replace (PUT /accounts, auth: 'workload') would be reached from outside, for public operations open /accounts (services/user/contract.ts): give it a path that none of theirs covers",
      ],
    ],
    [
      'an operation for workloads whose parameter matches a public path',
      withOperations({ mine: { path: '/accounts/me' }, close: { path: '/accounts/{id}', method: 'DELETE', auth: 'workload' } }),
      // On the very path of a public operation with the same method that one is matched.
      withOperations({ mine: { path: '/accounts/me' }, one: { path: '/accounts/{id}', auth: 'workload' } }),
      [
        "user: close (DELETE /accounts/{id}, auth: 'workload') would be reached from outside, for public operations open /accounts/me (services/user/contract.ts): give it a path that none of theirs covers",
      ],
    ],
  ])('refuses %s, and not what is just allowed', (_, refused, allowed, messages) => {
    expect(problemsOf(refused)).toEqual(messages)
    expect(problemsOf(allowed)).toEqual([])
  })

  test('names every problem at once', () => {
    const subject = withServices({ ...user, timeoutMs: 3_000 }, { ...order, calls: [{ ...edge, to: { ...user, timeoutMs: 3_000 } }] })
    expect(() => refuseImpossible({ ...subject, settings: { ...settings, INGRESS_IDLE_MS: 100_000 } })).toThrow(
      /^the system cannot work as described:\n {2}order -> user: .*\n {2}the services' keep-alive of 95000 ms .*$/,
    )
  })

  test('refuses before it returns an object', () => {
    const tagged = { ...context, images: { ...context.images, user: 'fairlead/user:latest' } }
    expect(() => synthesize(tagged)).toThrow(Refused)
  })

  test('looks at every pod of the shipped system', () => {
    const tagless = shipped()
    for (const { spec } of tagless.objects as (Manifest & { spec: { template?: { spec: { containers: { image: string }[] } } } })[]) {
      for (const each of spec?.template?.spec.containers ?? []) each.image = 'x'
    }
    expect(problemsOf(tagless).length).toBeGreaterThanOrEqual(3)
  })
})

test('the rules of the graph alone refuse on a laptop what synth would refuse', () => {
  const slow = { ...order, calls: [{ ...edge, attemptTimeoutMs: 1_500 }] }
  expect(() => refuseImpossibleGraph({ ...system, services: [user, slow] })).toThrow(
    /order -> user: 2 attempts of 1500 ms .* more than timeoutMs 2000/,
  )
  expect(() => refuseImpossibleGraph(system)).not.toThrow()
})

test('two objects with one name are refused: the second would take the place of the first', () => {
  const [object] = own
  expect(() => refuseImpossible({ ...context, objects: [...own, ...platform, object as (typeof own)[0]] })).toThrow(/ is made twice: /)
})
