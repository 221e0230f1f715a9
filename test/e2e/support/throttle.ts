import pg from 'pg'
import { databaseSecret } from '../../../infra/kit/constructs/deployment.ts'
import { POSTGRES, POSTGRES_PORT } from '../../../infra/kit/constructs/postgres.ts'
import { user } from '../../../services/user/service.ts'
import { cluster, NAMESPACE, readyPods } from './target.ts'

/** Lets this machine register again: all customers of these tests come from one address, and it has few registrations. */
export async function forgetRegistrations(): Promise<void> {
  const secret = await cluster.read({ apiVersion: 'v1', kind: 'Secret', metadata: { name: databaseSecret(user), namespace: NAMESPACE } })
  const url = new URL(Buffer.from(secret?.data?.url ?? '', 'base64').toString())
  const [pod] = await readyPods(POSTGRES)
  if (!pod) throw new Error(`${POSTGRES} has no ready pod`)
  const forwarded = await cluster.forward(NAMESPACE, pod.metadata.name, POSTGRES_PORT)
  url.host = new URL(forwarded.url).host
  const client = new pg.Client({ connectionString: url.href, connectionTimeoutMillis: 5_000, query_timeout: 10_000 })
  try {
    await client.connect()
    await client.query('delete from login_attempts')
  } finally {
    await client.end().catch(() => {})
    await forwarded.close()
  }
}
