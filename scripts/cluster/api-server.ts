import type { Settings } from '@fairlead/infra/tools'
import type { Cluster } from './cluster.ts'
import { ApiError } from './rest.ts'

type Endpoints = Settings['API_SERVER']
interface Slice {
  endpoints?: { addresses: string[] }[]
  ports: { port: number }[]
}

/** Where pods reach the API server: its Service, and what is behind that. Nothing, where that may not be read. */
async function locate(cluster: Cluster): Promise<Endpoints> {
  try {
    const service = await cluster.read({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'kubernetes', namespace: 'default' } })
    const slices: unknown[] = await cluster.list('discovery.k8s.io/v1', 'EndpointSlice', 'default', 'kubernetes.io/service-name=kubernetes')
    const front = (service?.spec.clusterIPs ?? []).map((address: string) => ({ addresses: [address], ports: service?.spec.ports }))
    const behind = (slices as Slice[]).flatMap(({ endpoints, ports }) => (endpoints ?? []).map(({ addresses }) => ({ addresses, ports })))
    const found = [...front, ...behind].flatMap(({ addresses, ports }) =>
      addresses.flatMap((address: string) => ports.map(({ port }: { port: number }) => `${address} ${port}`)),
    )
    return [...new Set<string>(found)].sort().map(text => {
      const [address = '', port] = text.split(' ')
      return { address, port: Number(port) }
    })
  } catch (error) {
    if (error instanceof ApiError) return []
    throw error
  }
}

/** The settings, with the addresses of the API server unless somebody has said them. */
export const withApiServer = async (cluster: Cluster, settings: Settings): Promise<Settings> =>
  settings.API_SERVER.length > 0 || settings.PLATFORM !== 'bundled' ? settings : { ...settings, API_SERVER: await locate(cluster) }
