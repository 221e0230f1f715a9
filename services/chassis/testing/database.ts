import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import type { Logger } from 'pino'
import { columnTypes } from '../data/column-types.ts'
import { migrate } from '../data/migrate.ts'

/** Where the run's Postgres is: the URL of a superuser, without a database. */
export const POSTGRES_VARIABLE = 'FAIRLEAD_TEST_POSTGRES'

export interface TestDatabase {
  url: string
  /** Plain SQL beside the code under test. */
  sql<Row = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>
  /** Closes its connections and drops it. */
  close(): Promise<void>
}

/**
 * A database of its own on the run's Postgres, with a service's migrations.
 * @throws Error saying how to have a Postgres, where the run has none
 */
export async function testDatabase(migrations: URL, log: Logger): Promise<TestDatabase> {
  const server = process.env[POSTGRES_VARIABLE]
  if (!server) throw new Error("there is no Postgres: set globalSetup: ['@fairlead/chassis/testing/postgres'] in vitest's configuration")
  const name = `test_${randomBytes(8).toString('hex')}`
  const url = server + name
  await asSuperuser(server, `create database ${name}`)
  const drop = () => asSuperuser(server, `drop database ${name} with (force)`)
  try {
    await migrate({ url, dir: fileURLToPath(migrations), log })
  } catch (error) {
    await drop()
    throw error
  }
  const pool = new pg.Pool({ connectionString: url, max: 2, types: columnTypes })
  pool.on('error', () => {})
  return {
    url,
    sql: async (text, values) => (await pool.query(text, values)).rows,
    close: async () => {
      await pool.end()
      await drop()
    },
  }
}

async function asSuperuser(server: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: `${server}postgres`, connectionTimeoutMillis: 10_000 })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
