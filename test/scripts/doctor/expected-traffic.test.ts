import fc from 'fast-check'
import type { INetworkPolicyPeer } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicyPeer'
import { describe, expect, test } from 'vitest'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { allows, type End } from '../../../scripts/doctor/expected-traffic.ts'
import { EXISTING, images, project, system } from '../../support/acme.ts'

const NAME = 'app.kubernetes.io/name'
const NAMESPACE = 'kubernetes.io/metadata.name'

const policiesWith = (env: Record<string, string> = {}): Manifest[] => {
  const { own, platform } = synthesize({
    ...project,
    settings: loadSettings(env, system),
    images,
  })
  return [...platform, ...own].filter(({ kind }) => kind === 'NetworkPolicy')
}

const pod = (namespace: string, name?: string): End => ({ namespace, labels: name ? { [NAME]: name } : {} })

describe('allows(policies, from, to, port) of acme', () => {
  const policies = policiesWith()
  const listening: Record<string, { namespace: string; ports: number[] }> = {
    hello: { namespace: 'acme', ports: [8_080, 9_090, 8_888] },
    stock: { namespace: 'acme', ports: [8_081, 8_091, 9_090, 8_888] },
    booking: { namespace: 'acme', ports: [8_082, 9_090, 8_888] },
    postgres: { namespace: 'acme', ports: [5_432] },
    traefik: { namespace: 'ingress', ports: [8_000, 8_443, 8_080] },
    prometheus: { namespace: 'observability', ports: [9_090] },
    'prometheus-operator': { namespace: 'observability', ports: [8_080] },
    alertmanager: { namespace: 'observability', ports: [9_093] },
    jaeger: { namespace: 'observability', ports: [4_317, 16_686, 8_888, 13_133] },
    grafana: { namespace: 'observability', ports: [3_000] },
  }
  const asking: Record<string, End> = {
    ...Object.fromEntries(Object.entries(listening).map(([name, { namespace }]) => [name, pod(namespace, name)])),
    'stranger in acme': pod('acme'),
    'stranger in ingress': pod('ingress'),
    'stranger in observability': pod('observability'),
    'stranger in default': pod('default'),
    'booking in default': pod('default', 'booking'),
    'prometheus in acme': pod('acme', 'prometheus'),
  }

  test('are the pairs that one would list by hand', () => {
    const open = Object.entries(asking).flatMap(([who, from]) =>
      Object.entries(listening).flatMap(([name, { namespace, ports }]) =>
        ports.filter(port => allows(policies, from, pod(namespace, name), port)).map(port => `${who} -> ${name}:${port}`),
      ),
    )
    expect(open.sort()).toEqual(
      [
        'booking -> stock:8091',
        'booking -> hello:8080',
        'booking -> postgres:5432',
        'booking -> jaeger:4317',
        'stock -> postgres:5432',
        'stock -> jaeger:4317',
        'hello -> jaeger:4317',
        'traefik -> hello:8080',
        'traefik -> stock:8081',
        'traefik -> booking:8082',
        'traefik -> jaeger:4317',
        'prometheus -> hello:9090',
        'prometheus -> hello:8888',
        'prometheus -> stock:9090',
        'prometheus -> stock:8888',
        'prometheus -> booking:9090',
        'prometheus -> booking:8888',
        'prometheus -> traefik:8080',
        'prometheus -> jaeger:8888',
        'prometheus -> alertmanager:9093',
        'prometheus -> prometheus-operator:8080',
        'prometheus -> prometheus:9090',
        'grafana -> prometheus:9090',
        'grafana -> jaeger:16686',
        // Anybody may come in, as through the ports of the node; the namespaces of the system are closed on their own side.
        'stranger in default -> traefik:8000',
        'stranger in default -> traefik:8443',
        'booking in default -> traefik:8000',
        'booking in default -> traefik:8443',
      ].sort(),
    )
  })

  test('let services reach an external database by its address, and nothing else there', () => {
    const external = policiesWith({ DATABASE: 'external', DATABASE_CIDR: '10.20.0.0/16' })
    const database = (address: string): End => ({ namespace: 'elsewhere', labels: {}, address })
    expect(allows(external, pod('acme', 'booking'), database('10.20.255.1'), 5_432)).toBe(true)
    expect(allows(external, pod('acme', 'booking'), database('10.21.0.1'), 5_432)).toBe(false)
    expect(allows(external, pod('acme', 'booking'), database('10.20.255.1'), 5_433)).toBe(false)
    expect(allows(external, pod('acme', 'booking'), pod('elsewhere'), 5_432)).toBe(false)
    const six = policiesWith({ DATABASE: 'external', DATABASE_CIDR: '2001:db8::/64,10.20.0.0/16' })
    expect(allows(six, pod('acme', 'booking'), database('2001:db8::1'), 5_432)).toBe(true)
    expect(allows(six, pod('acme', 'booking'), database('2001:db8:1::1'), 5_432)).toBe(false)
    expect(allows(six, pod('acme', 'booking'), database('10.20.0.1'), 5_432)).toBe(true)
  })

  test("let every pod of an existing platform's namespaces in, for nobody here knows their names", () => {
    const attached = policiesWith(EXISTING)
    expect(allows(attached, pod('monitoring', 'vmagent'), pod('acme', 'stock'), 9_090)).toBe(true)
    expect(allows(attached, pod('default', 'vmagent'), pod('acme', 'stock'), 9_090)).toBe(false)
  })

  // What the graph begins to use beyond this would be judged wrongly, and no check of the network would say so.
  test.each<Record<string, string>>([{}, EXISTING, { DATABASE: 'external', DATABASE_CIDR: '10.20.0.0/16' }, { ROUTE: 'gateway' }])(
    'are judged by all that the policies say, with %j',
    env => {
      const selector = { matchLabels: expect.any(Object) }
      const named = { matchLabels: { [NAMESPACE]: expect.any(String) } }
      const shapes = [
        { podSelector: selector },
        { namespaceSelector: named },
        { namespaceSelector: named, podSelector: selector },
        { ipBlock: { cidr: expect.stringMatching(/^\d+\.\d+\.\d+\.\d+\/\d+$/) } },
      ]
      for (const { metadata, spec } of policiesWith(env)) {
        const { podSelector, policyTypes, ingress = [], egress = [], ...others } = spec as Record<string, never[]>
        expect(others, metadata.name).toEqual({})
        expect([{}, selector], metadata.name).toContainEqual(podSelector)
        expect(policyTypes, metadata.name).toEqual(['Ingress', 'Egress'])
        for (const { from = [], to = [], ports, ...unknown } of [...ingress, ...egress] as { from?: object[]; to?: object[]; ports: object[] }[]) {
          expect(unknown, metadata.name).toEqual({})
          for (const peer of [...from, ...to]) expect(shapes, metadata.name).toContainEqual(peer)
          for (const { protocol, ...port } of ports as { protocol: string }[]) {
            expect(port, metadata.name).toEqual({ port: expect.any(Number) })
            // A rule for UDP alone would be taken for one of TCP.
            expect(ports, metadata.name).toContainEqual({ ...port, protocol: 'TCP' })
            expect(['TCP', 'UDP']).toContain(protocol)
          }
        }
      }
    },
  )
})

interface Spec {
  podSelector: { matchLabels?: Record<string, string> }
  policyTypes: ('Ingress' | 'Egress')[]
  ingress?: { from?: INetworkPolicyPeer[]; ports?: { port: number }[] }[]
  egress?: { to?: INetworkPolicyPeer[]; ports?: { port: number }[] }[]
}

const policy = (namespace: string, spec: Spec): Manifest => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'x', namespace },
  spec,
})
const isolate = (namespace: string, spec: Partial<Spec> = {}) => policy(namespace, { podSelector: {}, policyTypes: ['Ingress', 'Egress'], ...spec })
const app = (name: string) => ({ matchLabels: { app: name } })
const end = (namespace: string, name?: string, address?: string): End => ({
  namespace,
  labels: name ? { app: name } : {},
  ...(address && { address }),
})

describe('allows(policies, from, to, port)', () => {
  const [a, b] = [end('one', 'a'), end('one', 'b')]
  const out: Spec = { podSelector: app('a'), policyTypes: ['Egress'], egress: [{ to: [{ podSelector: app('b') }], ports: [{ port: 80 }] }] }
  const into: Spec = { podSelector: app('b'), policyTypes: ['Ingress'], ingress: [{ from: [{ podSelector: app('a') }], ports: [{ port: 80 }] }] }

  test.each<[string, Manifest[], boolean]>([
    ['yes: there is no policy', [], true],
    ['yes: those of another namespace do not matter', [isolate('two')], true],
    ['yes: those that select other pods do not matter', [isolate('one', { podSelector: app('c') })], true],
    ['no: nothing may go in or out', [isolate('one')], false],
    ['no: the caller may not ask', [isolate('one', { policyTypes: ['Egress'] })], false],
    ['no: the callee may not answer', [isolate('one', { policyTypes: ['Ingress'] })], false],
    ['no: it may go out, and not in', [isolate('one'), policy('one', out)], false],
    ['no: it may go in, and not out', [isolate('one'), policy('one', into)], false],
    ['yes: it may go out and in', [isolate('one'), policy('one', out), policy('one', into)], true],
    ['no: it may go in by a policy of another namespace', [isolate('one'), policy('one', out), policy('two', into)], false],
    ['yes: a rule without peers and ports is for all', [isolate('one', { ingress: [{}], egress: [{}] })], true],
    ['no: another port', [policy('one', { ...into, ingress: [{ ports: [{ port: 81 }] }] })], false],
    ['yes: one of several ports', [policy('one', { ...into, ingress: [{ ports: [{ port: 81 }, { port: 80 }] }] })], true],
    ['yes: one of several rules', [policy('one', { ...into, ingress: [{ ports: [{ port: 81 }] }, { from: [{ podSelector: app('a') }] }] })], true],
    [
      'no: what is asked for may not be mixed from two rules',
      [
        policy('one', {
          ...into,
          ingress: [
            { ports: [{ port: 80 }], from: [{ podSelector: app('c') }] },
            { ports: [{ port: 81 }], from: [{ podSelector: app('a') }] },
          ],
        }),
      ],
      false,
    ],
    ['no: a rule for egress is none for ingress', [isolate('one', { egress: [{}] })], false],
  ])('%s', (_, policies, allowed) => {
    expect(allows(policies, a, b, 80)).toBe(allowed)
  })

  const from = (...peers: INetworkPolicyPeer[]) => [isolate('one', { policyTypes: ['Ingress'], ingress: [{ from: peers }] })]
  const inTwo = { namespaceSelector: { matchLabels: { [NAMESPACE]: 'two' } } }

  test.each<[string, Manifest[], End, boolean]>([
    ['pods of the own namespace alone, where none is named', from({ podSelector: app('a') }), end('two', 'a'), false],
    ['pods of another namespace that is named', from({ ...inTwo, podSelector: app('a') }), end('two', 'a'), true],
    ['other pods of a namespace that is named', from({ ...inTwo, podSelector: app('a') }), end('two', 'b'), false],
    ['pods of the own namespace, where another is named', from({ ...inTwo, podSelector: app('a') }), end('one', 'a'), false],
    ['every pod of a namespace that is named', from(inTwo), end('two'), true],
    ['every pod of every namespace', from({ namespaceSelector: {} }), end('three'), true],
    ['any of several peers', from(inTwo, { podSelector: app('a') }), end('one', 'a'), true],
    ['an address of a block', from({ ipBlock: { cidr: '10.1.0.0/16' } }), end('two', 'a', '10.1.255.3'), true],
    ['an address beside a block', from({ ipBlock: { cidr: '10.1.0.0/16' } }), end('two', 'a', '10.2.0.3'), false],
    ['every address', from({ ipBlock: { cidr: '0.0.0.0/0' } }), end('two', 'a', '203.0.113.9'), true],
    ['a pod whose address nobody knows, by a block', from({ ipBlock: { cidr: '10.1.0.0/16' } }), end('two', 'a'), false],
  ])('%s', (_, policies, caller, allowed) => {
    expect(allows(policies, caller, b, 80)).toBe(allowed)
  })

  const namespaces = fc.constantFrom('one', 'two')
  const selectors = fc.oneof(fc.constant({}), fc.constantFrom('a', 'b').map(app))
  const peers: fc.Arbitrary<INetworkPolicyPeer> = fc.oneof(
    fc.record({ podSelector: selectors }),
    fc.record({
      namespaceSelector: fc.oneof(
        fc.constant({}),
        namespaces.map(value => ({ matchLabels: { [NAMESPACE]: value } })),
      ),
    }),
    fc.record({ namespaceSelector: namespaces.map(value => ({ matchLabels: { [NAMESPACE]: value } })), podSelector: selectors }),
    fc.constantFrom('10.0.0.0/8', '10.1.0.0/16', '10.1.1.1/32').map(cidr => ({ ipBlock: { cidr } })),
  )
  const ports = fc.uniqueArray(
    fc.constantFrom(80, 81).map(port => ({ port })),
    { minLength: 1, selector: ({ port }) => port },
  )
  const rules = (key: 'from' | 'to') =>
    fc.array(fc.record({ [key]: fc.array(peers, { minLength: 1, maxLength: 2 }), ports }, { requiredKeys: [] }), { maxLength: 2 })
  const policies: fc.Arbitrary<Manifest> = fc
    .tuple(
      namespaces,
      fc.record(
        {
          podSelector: selectors,
          policyTypes: fc.subarray(['Ingress', 'Egress'] as const, { minLength: 1 }),
          ingress: rules('from'),
          egress: rules('to'),
        },
        { requiredKeys: ['podSelector', 'policyTypes'] },
      ),
    )
    .map(([namespace, spec]) => policy(namespace, spec as Spec))
  const ends = fc
    .tuple(namespaces, fc.constantFrom('a', 'b', undefined), fc.constantFrom('10.1.1.1', '10.1.2.2', '10.2.0.1', '192.0.2.1', undefined))
    .map(([namespace, name, address]) => end(namespace, name, address))

  /** https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.34/#networkpolicyspec-v1-networking-k8s-io, word for word. */
  function permits(all: readonly Manifest[], self: End, other: End, port: number, direction: 'Ingress' | 'Egress'): boolean {
    const has = (labels: Record<string, string>, selector: { matchLabels?: Record<string, string> }) =>
      Object.keys(selector.matchLabels ?? {}).filter(key => labels[key] !== selector.matchLabels?.[key]).length === 0
    const number = (address: string) => address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)
    const isIn = (address: string, cidr: string) => {
      const [network = '', bits] = cidr.split('/')
      const size = 2 ** (32 - Number(bits))
      return Math.floor(number(address) / size) === Math.floor(number(network) / size)
    }
    const isPeer = (peer: INetworkPolicyPeer): boolean => {
      if (peer.ipBlock) return other.address ? isIn(other.address, peer.ipBlock.cidr) : false
      if (peer.namespaceSelector && !has({ [NAMESPACE]: other.namespace }, peer.namespaceSelector)) return false
      if (!peer.namespaceSelector && other.namespace !== self.namespace) return false
      return peer.podSelector ? has(other.labels, peer.podSelector) : true
    }
    let selected = false
    for (const { metadata, spec } of all) {
      const { podSelector, policyTypes, ingress, egress } = spec as Spec
      if (metadata.namespace !== self.namespace || !has(self.labels, podSelector)) continue
      if (!policyTypes.includes(direction)) continue
      selected = true
      const lists =
        direction === 'Ingress' ? ingress?.map(rule => [rule.from, rule.ports] as const) : egress?.map(rule => [rule.to, rule.ports] as const)
      for (const [listed, open] of lists ?? []) {
        if (listed && listed.filter(isPeer).length === 0) continue
        if (open && !open.map(one => one.port).includes(port)) continue
        return true
      }
    }
    return !selected
  }

  test('agrees with what the API says of every policy', () => {
    const seen = { yes: 0, no: 0 }
    fc.assert(
      fc.property(fc.array(policies, { maxLength: 5 }), ends, ends, fc.constantFrom(80, 81), (all, one, other, port) => {
        const expected = permits(all, one, other, port, 'Egress') && permits(all, other, one, port, 'Ingress')
        seen[expected ? 'yes' : 'no']++
        expect(allows(all, one, other, port)).toBe(expected)
      }),
      { numRuns: 2_000 },
    )
    // Both answers were tried.
    expect(Math.min(seen.yes, seen.no)).toBeGreaterThan(100)
  })
})
