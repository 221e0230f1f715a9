import { setTimeout as pause } from 'node:timers/promises'
import { runner } from 'node-pg-migrate'
import pg from 'pg'
import type { Logger } from 'pino'
import { backoffMs } from '../contract/backoff.ts'
import { checksumsIn, recordChecksums, refuseChanged } from './checksums.ts'
import type { DatabaseUrl } from './database-url.ts'
import { makeTables } from './tables.ts'

export interface MigrateOptions {
  url: DatabaseUrl
  /** Folder of `NNN_name.sql` files. */
  dir: string
  log: Logger
  /** Time to wait for another pod's migration, in milliseconds. @default 60000 */
  lockWaitMs?: number
  /** Time to wait for a database that is not there yet, in milliseconds. @default 60000 */
  connectWaitMs?: number
}

// Any constant that all replicas share; node-pg-migrate's own lock fails at once instead of waiting.
const LOCK_KEY = 7_236_101

/**
 * Makes the chassis' own tables and brings a database to the service's newest migration. Safe with many pods at once: one works, the others wait
 * and find nothing to do.
 * @returns the names of the service's migrations that ran
 * @throws Error naming the file that failed, with what Postgres said and its code, or one that changed after it ran
 */
export async function migrate({ url, dir, log, lockWaitMs = 60_000, connectWaitMs = 60_000 }: MigrateOptions): Promise<string[]> {
  const client = await connect(url, log, performance.now() + connectWaitMs)
  try {
    await client.query(`set lock_timeout = ${Math.trunc(lockWaitMs)}`)
    await client.query('select pg_advisory_lock($1)', [LOCK_KEY])
    // A migration that cannot get its table lock soon gives up rather than make every request queue behind it.
    await client.query("set lock_timeout = '3s'")
    const made = await makeTables(client)
    if (made.length > 0) log.info({ made }, "the chassis' tables are there")
    const checksums = await checksumsIn(dir)
    await refuseChanged(client, checksums)
    let file: string | undefined
    const quiet = (message: string) => log.debug(message)
    const info = (message: string) => {
      file = /^### MIGRATION (\S+) \(UP\) ###$/.exec(message)?.[1] ?? file
      quiet(message)
    }
    const ran = await runner({
      dbClient: client,
      dir,
      direction: 'up',
      migrationsTable: 'migrations',
      noLock: true,
      checkOrder: true,
      singleTransaction: true,
      log: quiet,
      // Its errors repeat the whole file; what Postgres says of it is thrown.
      logger: { debug: quiet, info, warn: message => log.warn(message), error: quiet },
    }).catch((error: Error & { code?: string }) => {
      throw file === undefined ? error : Object.assign(new Error(`${file}.sql: ${error.message}`, { cause: error }), { code: error.code })
    })
    const names = ran.map(migration => migration.name)
    await recordChecksums(client, names, checksums)
    return names
  } finally {
    await client.end()
  }
}

/** What a database answers, or does not, that starts or whose roles are still being made. Class 28 also is a wrong password: so not for ever. */
const NOT_YET = new Set(['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', '57P03', '28P01', '28000', '3D000'])

async function connect(url: DatabaseUrl, log: Logger, endsAt: number): Promise<pg.Client> {
  for (let attempt = 0; ; attempt++) {
    const client = new pg.Client({ connectionString: typeof url === 'string' ? url : url(), connectionTimeoutMillis: 5_000 })
    // What runs then rejects; without a listener the event would end the process in the middle of it.
    client.on('error', error => log.warn({ err: error }, 'database connection lost'))
    try {
      await client.connect()
      return client
    } catch (error) {
      const { code = 'no answer', message } = error as Error & { code?: string }
      const waitMs = backoffMs(attempt, { baseMs: 250, capMs: 2_000 })
      const timedOut = message.includes('timeout')
      if (!(NOT_YET.has(code) || timedOut) || performance.now() + waitMs > endsAt) throw error
      log.info({ code, reason: message }, 'the database is not there yet')
      await pause(waitMs)
    }
  }
}
