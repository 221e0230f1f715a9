import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { refuseImpossible, refuseImpossibleGraph } from '../../../infra/kit/checks/refuse.ts'
import { Refused, type Subject } from '../../../infra/kit/checks/refused.ts'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { type Operation, strict } from '../../../services/chassis/contract/contract.ts'
import type { ServiceDefinition } from '../../../services/chassis/contract/graph.ts'
import { booking, hello, images, project, stock, system } from '../../support/acme.ts'

const settings = loadSettings({}, system)
const context = { ...project, settings, images }
const { own, platform } = synthesize(context)

/** The shipped system with an edit: of its services, of its objects, or of its settings. */
const shipped = (edit: Partial<Subject> = {}): Subject => ({ ...context, objects: structuredClone([...platform, ...own]), ...edit })

const withServices = (...services: ServiceDefinition[]) => shipped({ system: { ...system, services: [hello, ...services] } })

/** The stock service with further operations, each public and a GET unless it says otherwise. */
const withOperations = (operations: Record<string, Pick<Operation, 'path'> & Partial<Operation>>) =>
  withServices(
    {
      ...stock,
      grpc: undefined as never,
      contract: {
        ...stock.contract,
        ...Object.fromEntries(Object.entries(operations).map(([name, edit]) => [name, { ...stock.contract.listItems, ...edit }])),
      },
    },
    booking,
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

const withMemory = (memory: string) => ({ requests: { cpu: '100m', memory: '96Mi' }, limits: { cpu: '1', memory } })

const container = (object: { spec: { template: { spec: { containers: Record<string, unknown>[] } } } }) =>
  object.spec.template.spec.containers[0] as Record<string, never>

const edge = booking.calls[0]
const { reserve } = stock.contract
const ring = () => {
  const a = { ...stock, name: 'a', port: 7_001, contract: {}, calls: [] as ServiceDefinition['calls'] }
  const b: ServiceDefinition = { ...stock, name: 'b', port: 7_002, contract: {}, calls: [{ to: a, mode: 'optional', attemptTimeoutMs: 100 }] }
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
      withObject('Deployment', 'stock', d => Object.assign(d.spec.template.spec, { terminationGracePeriodSeconds: 25 })),
      withObject('Deployment', 'stock', d => Object.assign(d.spec.template.spec, { terminationGracePeriodSeconds: 26 })),
      ['Deployment stock: preStop 5000 ms + drain 21000 ms exceed terminationGracePeriodSeconds 25: pods would be killed with requests in flight'],
    ],
    [
      'a memory limit that the kernel would end it by',
      withServices({ ...stock, resources: withMemory('244Mi') }, booking),
      withServices({ ...stock, resources: withMemory('245Mi') }, booking),
      [
        "stock: resources.limits.memory 244Mi cannot hold Node.js, V8's heap (40 % of it) and as many bodies as maxConcurrency lets in: at least 245Mi, or a lower maxConcurrency or maxBodyBytes (services/stock/service.ts); what the service itself keeps comes on top",
      ],
    ],
    [
      "a memory limit whose share for V8's heap its bodies would fill",
      withServices({ ...stock, maxConcurrency: 1_500, resources: withMemory('411Mi') }, booking),
      withServices({ ...stock, maxConcurrency: 1_500, resources: withMemory('412Mi') }, booking),
      [
        "stock: resources.limits.memory 411Mi cannot hold Node.js, V8's heap (40 % of it) and as many bodies as maxConcurrency lets in: at least 412Mi, or a lower maxConcurrency or maxBodyBytes (services/stock/service.ts); what the service itself keeps comes on top",
      ],
    ],
    [
      "a caller's timeout below its callee's",
      withServices({ ...stock, timeoutMs: 2_001 }, { ...booking, calls: [{ ...edge, to: { ...stock, timeoutMs: 2_001 } }] }),
      withServices({ ...stock, timeoutMs: 2_000 }, { ...booking, calls: [{ ...edge, to: { ...stock, timeoutMs: 2_000 } }] }),
      ["booking -> stock: the caller's timeoutMs 2000 (services/booking/service.ts) is below its callee's 2001 (services/stock/service.ts)"],
    ],
    [
      'retries that do not fit into the deadline',
      withServices(stock, { ...booking, calls: [{ ...edge, attemptTimeoutMs: 988 }] }),
      withServices(stock, { ...booking, calls: [{ ...edge, attemptTimeoutMs: 987 }] }),
      [
        'booking -> stock: 2 attempts of 988 ms and 25 ms of backoff (calls in services/booking/service.ts) take 2001 ms, more than timeoutMs 2000 of the same file',
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
      withServices(stock, { ...booking, slo: { ...booking.slo, availability: 0.9995 }, calls: [{ ...edge, mode: 'required' }] }),
      withServices(stock, { ...booking, slo: { ...booking.slo, availability: 0.9995 }, calls: [edge] }),
      [
        'booking -> stock: availability 0.9995 (services/booking/service.ts) is above 0.999 of a callee that it requires (services/stock/service.ts): lower it, or make the edge optional',
      ],
    ],
    [
      'a burn alert that can never fire',
      withServices({ ...stock, slo: { ...stock.slo, latency: { thresholdMs: 250, objective: 0.93 } } }, booking),
      withServices({ ...stock, slo: { ...stock.slo, latency: { thresholdMs: 250, objective: 0.931 } } }, booking),
      [
        'stock: slo.latency.objective 0.93 (services/stock/service.ts) makes the burn alert of 14.4 times ask for 1.01 of all requests: it could never tell anything',
      ],
    ],
    [
      'an objective without a budget',
      withServices({ ...stock, slo: { ...stock.slo, availability: 1 } }, { ...booking, calls: [edge] }),
      withServices({ ...stock, slo: { ...stock.slo, availability: 0.99999 } }, booking),
      ['stock: slo.availability 1 (services/stock/service.ts) leaves no budget to burn: it could never tell anything'],
    ],
    [
      'a disruption budget that blocks every drain',
      withObject('PodDisruptionBudget', 'stock', pdb => Object.assign(pdb.spec, { maxUnavailable: undefined, minAvailable: 2 })),
      withObject('PodDisruptionBudget', 'stock', pdb => Object.assign(pdb.spec, { maxUnavailable: undefined, minAvailable: 1 })),
      ['PodDisruptionBudget stock: minAvailable 2 with scale.min 2 (services/stock/service.ts) blocks every drain of a node'],
    ],
    [
      'a disruption budget of zero',
      withObject('PodDisruptionBudget', 'booking', pdb => Object.assign(pdb.spec, { maxUnavailable: 0 })),
      withObject('PodDisruptionBudget', 'booking', pdb => Object.assign(pdb.spec, { maxUnavailable: 1 })),
      ['PodDisruptionBudget booking: maxUnavailable 0 with scale.min 2 (services/booking/service.ts) blocks every drain of a node'],
    ],
    [
      'limits below requests',
      withObject('Deployment', 'stock', d => Object.assign(container(d), { resources: { requests: { cpu: '101m' }, limits: { cpu: '0.1' } } })),
      withObject('Deployment', 'stock', d => Object.assign(container(d), { resources: { requests: { cpu: '100m' }, limits: { cpu: '0.1' } } })),
      ['Deployment stock, container stock: cpu limit 0.1 is below its request 101m (resources of its service.ts or construct)'],
    ],
    [
      'the tag latest',
      withObject('Deployment', 'stock', d => Object.assign(container(d), { image: 'reg.example:5000/stock:latest' })),
      withObject('Deployment', 'stock', d => Object.assign(container(d), { image: 'reg.example:5000/stock:1.0' })),
      [
        "Deployment stock, container stock: image 'reg.example:5000/stock:latest' has the tag latest; pin one (IMAGE_TAG for services, IMAGES for others)",
      ],
    ],
    [
      'no tag',
      withObject('Deployment', 'stock', d => Object.assign(container(d), { image: 'reg.example:5000/stock' })),
      withObject('Deployment', 'stock', d => Object.assign(container(d), { image: 'reg.example:5000/stock@sha256:0' })),
      [
        "Deployment stock, container stock: image 'reg.example:5000/stock' has the tag latest (none is named); pin one (IMAGE_TAG for services, IMAGES for others)",
      ],
    ],
    [
      'a tag that names no version',
      withObject('Deployment', 'stock', d => Object.assign(container(d), { image: 'redis:7' })),
      withObject('Deployment', 'stock', d => Object.assign(container(d), { image: 'redis:7@sha256:0' })),
      [
        "Deployment stock, container stock: image 'redis:7' has the tag 7, which may name another image tomorrow; say a whole version or a digest (IMAGES)",
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
      withObject('Deployment', 'stock', d => Object.assign(container(d), { ports: [{ name: 'http', containerPort: 8_888 }] })),
      withObject('Deployment', 'stock', d =>
        Object.assign(container(d), {
          ports: [{ name: 'http', containerPort: 8_888, protocol: 'UDP' }],
        }),
      ),
      ['Deployment stock: stock and collector both listen on port 8888/TCP (port in service.ts, or their constructs)'],
    ],
    [
      'a ServiceMonitor whose labels match no Service',
      withObject('ServiceMonitor', 'stock', m => Object.assign(m.spec.selector.matchLabels, { 'app.kubernetes.io/name': 'stocks' })),
      shipped(),
      ['ServiceMonitor acme/stock: its labels {"app.kubernetes.io/name":"stocks"} match no Service in acme'],
    ],
    [
      'a ServiceMonitor whose port no Service has',
      withObject('ServiceMonitor', 'stock', m => Object.assign(m.spec.endpoints[0], { port: 'metrics' })),
      shipped(),
      ["ServiceMonitor acme/stock: port 'metrics' is none of http, grpc, admin, otel-metrics of the Services that it matches"],
    ],
    [
      'two services with one public path',
      withServices(stock, { ...booking, contract: { ...booking.contract, stray: { ...stock.contract.listItems, path: '/greetings/latest' } } }),
      withServices(stock, { ...booking, contract: { ...booking.contract, stray: { ...stock.contract.listItems, path: '/greetings/latest/mine' } } }),
      ["hello's path /greetings/latest and booking's /greetings/latest (contract.ts of each) overlap on the one host of the ingress"],
    ],
    [
      "a path under another service's prefix",
      withServices(stock, { ...booking, contract: { ...booking.contract, stray: { ...stock.contract.listItems, path: '/greetings/{id}' } } }),
      withServices(stock, { ...booking, contract: { ...booking.contract, stray: { ...stock.contract.listItems, path: '/greetingsandmore/{id}' } } }),
      ['', '/latest'].map(
        path => `hello's path /greetings${path} and booking's /greetings (contract.ts of each) overlap on the one host of the ingress`,
      ),
    ],
    [
      'an internal operation under a public prefix',
      withOperations({ one: { path: '/accounts/{id}' }, export: { path: '/accounts/export', internal: true } }),
      withOperations({ one: { path: '/accounts/{id}' }, export: { path: '/accounts-export', internal: true } }),
      [
        'stock: export (GET /accounts/export, internal) would be reached from outside, for public operations open everything under /accounts (services/stock/contract.ts): give it a path that none of theirs covers',
      ],
    ],
    [
      'an operation for workloads on a public path',
      withOperations({ all: { path: '/accounts' }, replace: { path: '/accounts', method: 'PUT', auth: 'workload' } }),
      withOperations({ all: { path: '/accounts' }, replace: { path: '/accounts/all', method: 'PUT', auth: 'workload' } }),
      [
        "stock: replace (PUT /accounts, auth: 'workload') would be reached from outside, for public operations open /accounts (services/stock/contract.ts): give it a path that none of theirs covers",
      ],
    ],
    [
      'an operation for workloads whose parameter matches a public path',
      withOperations({ mine: { path: '/accounts/me' }, close: { path: '/accounts/{id}', method: 'DELETE', auth: 'workload' } }),
      // On the very path of a public operation with the same method that one is matched.
      withOperations({ mine: { path: '/accounts/me' }, one: { path: '/accounts/{id}', auth: 'workload' } }),
      [
        "stock: close (DELETE /accounts/{id}, auth: 'workload') would be reached from outside, for public operations open /accounts/me (services/stock/contract.ts): give it a path that none of theirs covers",
      ],
    ],
    [
      'a contract by gRPC that has changed since its numbers were written',
      withServices({ ...stock, contract: { ...stock.contract, reserve: { ...reserve, body: strict({ sku: z.int(), lot: z.string() }) } } }, booking),
      withServices({ ...stock, contract: { ...stock.contract, reserve: { ...reserve, summary: 'Holds one' } } }, booking),
      ['stock: ReserveRequest.sku is int64 and was string; ReserveRequest.lot has no number: run npx fairlead proto'],
    ],
  ])('refuses %s, and not what is just allowed', (_, refused, allowed, messages) => {
    expect(problemsOf(refused)).toEqual(messages)
    expect(problemsOf(allowed)).toEqual([])
  })

  test('names every problem at once', () => {
    const subject = withServices({ ...stock, timeoutMs: 3_000 }, { ...booking, calls: [{ ...edge, to: { ...stock, timeoutMs: 3_000 } }] })
    expect(() => refuseImpossible({ ...subject, settings: { ...settings, INGRESS_IDLE_MS: 100_000 } })).toThrow(
      /^the system cannot work as described:\n {2}booking -> stock: .*\n {2}the services' keep-alive of 95000 ms .*$/,
    )
  })

  test('refuses before it returns an object', () => {
    const tagged = { ...context, images: { ...context.images, stock: 'fairlead/stock:latest' } }
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
  const slow = { ...booking, calls: [{ ...edge, attemptTimeoutMs: 1_500 }] }
  expect(() => refuseImpossibleGraph({ ...system, services: [stock, slow] })).toThrow(
    /booking -> stock: 2 attempts of 1500 ms .* more than timeoutMs 2000/,
  )
  expect(() => refuseImpossibleGraph(system)).not.toThrow()
})

test('two objects with one name are refused: the second would take the place of the first', () => {
  const [object] = own
  expect(() => refuseImpossible({ ...context, objects: [...own, ...platform, object as (typeof own)[0]] })).toThrow(/ is made twice: /)
})
