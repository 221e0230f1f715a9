import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'
import { columnTypes } from '../../services/chassis/data/column-types.ts'
import { type Database, openDatabase } from '../../services/chassis/data/database.ts'
import { templateOf } from './global-setup.ts'
import { type TestRuntime, testRuntime } from './runtime.ts'

export interface TestDatabase {
  url: string
  database: Database
  /** Plain SQL beside the code under test. */
  sql<Row = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>
  /** Closes everything and drops the database. */
  close(): Promise<void>
}

const superuser = async <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => {
  const client = new pg.Client({ connectionString: `${inject('postgresUrl')}postgres` })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** A migrated database of its own, copied from the service's template; an empty one without a service. */
export async function testDatabase(
  service?: string,
  {
    runtime = testRuntime(),
    poolSize = 10,
    statementTimeoutMs = 5_000,
  }: { runtime?: TestRuntime; poolSize?: number; statementTimeoutMs?: number } = {},
): Promise<TestDatabase> {
  const name = `test_${randomBytes(8).toString('hex')}`
  await superuser(client => client.query(`create database ${name} template ${service ? templateOf(service) : 'template0'}`))
  const url = `${inject('postgresUrl')}${name}`
  const database = openDatabase({ ...runtime, url, service: 'test', poolSize, statementTimeoutMs })
  const pool = new pg.Pool({ connectionString: url, max: 2, types: columnTypes })
  pool.on('error', () => {})
  return {
    url,
    database,
    sql: async (text, values) => (await pool.query(text, values)).rows,
    close: async () => {
      await Promise.all([database.close(5_000), pool.end()])
      await superuser(client => client.query(`drop database ${name} with (force)`))
    },
  }
}
