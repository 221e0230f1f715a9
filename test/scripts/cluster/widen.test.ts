import { expect, test } from 'vitest'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import type { Live } from '../../../scripts/cluster/cluster.ts'
import { widenAll, widened } from '../../../scripts/cluster/widen.ts'
import { fakeCluster, manifests } from '../../support/fake-cluster.ts'

const policy = (spec: object): Manifest & Live => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'booking', namespace: 'acme' },
  spec: { podSelector: {}, ...spec },
})
const both = { policyTypes: ['Ingress', 'Egress'] }
const [a, b, c] = ['a', 'b', 'c'].map(name => ({ to: [{ podSelector: { name } }] }))

test.each<[what: string, live: object, wanted: object, wide: object]>([
  ['rules of both', { ...both, egress: [a, b] }, { ...both, egress: [b, c] }, { ...both, egress: [a, b, c] }],
  ['what only what is there allows', { ...both, egress: [a] }, both, { ...both, egress: [a] }],
  ['what only the graph allows', both, { ...both, ingress: [a] }, { ...both, ingress: [a] }],
  ['everything in a direction that was free', { policyTypes: ['Ingress'] }, { ...both, egress: [a] }, { ...both, egress: [{}, a] }],
  ['everything in a direction that becomes free', { ...both, egress: [a] }, { policyTypes: ['Ingress'] }, { policyTypes: ['Ingress'] }],
])('a policy allows %s', (_, live, wanted, wide) => {
  expect(widened(policy(wanted), policy(live))).toEqual(policy(wide))
})

test('a policy of other pods is as the graph gives it', () => {
  const wanted = policy({ ...both, podSelector: { matchLabels: { x: 'y' } }, egress: [a] })
  expect(widened(wanted, policy({ ...both, egress: [b] }))).toEqual(wanted)
})

test('roles and their bindings keep what they had', () => {
  const role = (rules: object[]) => ({ apiVersion: 'v1', kind: 'ClusterRole', metadata: { name: 'r' }, rules }) as Manifest & Live
  expect(widened(role([{ x: 1 }]), role([{ x: 2 }]))).toEqual(role([{ x: 2 }, { x: 1 }]))
  const binding = (subjects: object[]) => ({ apiVersion: 'v1', kind: 'RoleBinding', metadata: { name: 'r' }, subjects }) as Manifest & Live
  expect(widened(binding([{ x: 1 }]), binding([{ x: 2 }]))).toEqual(binding([{ x: 2 }, { x: 1 }]))
})

test('nothing is widened on a cluster that is as the graph gives it, and nothing on an empty one', async () => {
  for (const there of [manifests, []]) {
    const { wide, narrowing } = await widenAll(fakeCluster(there).cluster, manifests)
    expect(wide).toEqual(manifests)
    expect(narrowing).toEqual([])
  }
})
