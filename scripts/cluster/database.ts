import type { ServiceDefinition } from '@fairlead/chassis'
import { DATABASE_CA, databaseSecret, POSTGRES, POSTGRES_PORT, type Settings } from '@fairlead/infra/tools'
import type { ClientConfig } from 'pg'
import { fairlead, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import { textOf } from './brought-secrets.ts'
import type { Cluster } from './cluster.ts'
import { isReady } from './rollout.ts'

/** How pg connects to a database of a cluster from here. */
export type Connection = Pick<ClientConfig, 'connectionString' | 'ssl'>

/**
 * A URL and an authority as pods have them, for a process that is in none: the authority is no file here, and the host may be a forwarded
 * port, while the certificate names the host of the URL.
 * @param forwarded host and port to connect to instead of the URL's
 */
export function connectionFromHere(podUrl: string, authority?: string, forwarded?: string): Connection {
  const url = new URL(podUrl)
  const servername = url.hostname
  if (forwarded !== undefined) url.host = forwarded
  if (authority === undefined || !url.searchParams.has('sslrootcert')) return { connectionString: url.href }
  for (const parameter of ['sslmode', 'sslrootcert']) url.searchParams.delete(parameter)
  return { connectionString: url.href, ssl: { ca: authority, servername } }
}

/**
 * The database of a service in a cluster: through the API server where the database is bundled, else straight at it.
 * @param name of the Secret with its URL. @default that of the role that serves
 * @throws CommandError when its Secret or a ready pod of the database is missing
 */
export async function reachDatabase(
  cluster: Cluster,
  { name: service }: Pick<ServiceDefinition, 'name'>,
  { NAMESPACE, DATABASE }: Pick<Settings, 'NAMESPACE' | 'DATABASE'>,
  name = databaseSecret({ name: service }),
): Promise<{ connection: Connection; close(): Promise<void> }> {
  const status = toRun(fairlead(cluster.context, 'status'))
  const secret = await cluster.read({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: NAMESPACE } })
  const [url, authority] = [textOf(secret, 'url'), textOf(secret, DATABASE_CA)]
  if (!url) throw new CommandError(`Secret ${NAMESPACE}/${name} is not there: --service ${service} has no database here`, status)
  if (DATABASE === 'external') return { connection: connectionFromHere(url, authority), close: async () => {} }
  const pods = await cluster.list('v1', 'Pod', NAMESPACE, `app.kubernetes.io/name=${POSTGRES}`)
  const pod = pods.find(isReady)
  if (!pod) throw new CommandError(`${NAMESPACE}/${POSTGRES} has no ready pod`, status)
  const forwarded = await cluster.forward(NAMESPACE, pod.metadata.name, POSTGRES_PORT)
  return { connection: connectionFromHere(url, authority, new URL(forwarded.url).host), close: forwarded.close }
}
