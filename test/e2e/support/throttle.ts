import pg from 'pg'
import { reachDatabase } from '../../../scripts/cluster/database.ts'
import { user } from '../../../services/user/service.ts'
import { cluster, settings } from './target.ts'

/** Lets this machine register again: all customers of these tests come from one address, and it has few registrations. */
export async function forgetRegistrations(): Promise<void> {
  const { connection, close } = await reachDatabase(cluster, user, settings)
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: 5_000, query_timeout: 10_000 })
  try {
    await client.connect()
    await client.query('delete from login_attempts')
  } finally {
    await client.end().catch(() => {})
    await close()
  }
}
