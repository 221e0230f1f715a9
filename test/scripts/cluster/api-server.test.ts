import { describe, expect, test } from 'vitest'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { withApiServer } from '../../../scripts/cluster/api-server.ts'
import type { Cluster, Reference } from '../../../scripts/cluster/cluster.ts'
import { ApiError } from '../../../scripts/cluster/rest.ts'
import { EXISTING, system } from '../../support/acme.ts'
import { fakeCluster } from '../../support/fake-cluster.ts'

const settings = loadSettings({}, system)
const endpointsOf = async (cluster: Cluster, env: Record<string, string> = {}) => (await withApiServer(cluster, loadSettings(env, system))).API_SERVER

const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'kubernetes', namespace: 'default' } }
const slice = (name: string, addresses: string[]): Reference =>
  ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
    endpoints: [{ addresses }],
    ports: [{ port: 6_443 }],
  }) as never

describe('the addresses of the API server', () => {
  test('are those in front of it and behind, each once and in one order', async () => {
    const { cluster } = fakeCluster([
      { ...service, spec: { clusterIPs: ['10.96.0.1', 'fd00::1'], ports: [{ port: 443 }] } } as never,
      slice('kubernetes', ['172.18.0.3', '172.18.0.2']),
      slice('kubernetes-2', ['172.18.0.2']),
    ])
    expect(await endpointsOf(cluster)).toEqual([
      { address: '10.96.0.1', port: 443 },
      { address: '172.18.0.2', port: 6_443 },
      { address: '172.18.0.3', port: 6_443 },
      { address: 'fd00::1', port: 443 },
    ])
  })

  test('are those that somebody has said, and are not looked for where no program needs them', async () => {
    const cluster = {} as Cluster
    expect(await endpointsOf(cluster, { API_SERVER: '10.0.0.1:443' })).toEqual([{ address: '10.0.0.1', port: 443 }])
    expect(await endpointsOf(cluster, EXISTING)).toEqual([])
  })

  test('are unknown to whoever may not read them, and the settings stay as they are', async () => {
    const refused = async () => {
      throw new ApiError(403, 'services "kubernetes" is forbidden')
    }
    expect(await withApiServer({ read: refused } as unknown as Cluster, settings)).toEqual(settings)
  })
})
