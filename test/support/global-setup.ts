import { globSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import pg from 'pg'
import type { TestProject } from 'vitest/node'
import { migrate } from '../../services/chassis/data/migrate.ts'
import { asSuperuser, type Postgres, startPostgres } from '../../services/chassis/local/postgres.ts'
import { POSTGRES_VARIABLE } from '../../services/chassis/testing/database.ts'
import { silentLog } from './runtime.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** URL of the superuser on the run's Postgres, without a database. */
    postgresUrl: string
  }
}

export const templateOf = (service: string) => `template_${service}`

/** One Postgres per run, with a migrated template for each service that has a database, from which each test file copies its own. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-test-'))
  await chmod(dir, 0o755)
  const remove = () => rm(dir, { recursive: true, force: true })
  const postgres = await startPostgres({ dir, unsafe: true }).catch(async error => {
    await remove()
    throw error
  })
  const stop = () => postgres.stop().finally(remove)
  try {
    for (const migrations of globSync(['services/*/migrations', 'test/support/acme/services/*/migrations'])) await makeTemplate(postgres, migrations)
    project.provide('postgresUrl', postgres.url(''))
    process.env[POSTGRES_VARIABLE] = postgres.url('')
  } catch (error) {
    await stop()
    throw error
  }
  return stop
}

async function makeTemplate(postgres: Postgres, dir: string): Promise<void> {
  const name = basename(dirname(dir))
  await asSuperuser(postgres, 'postgres', client => client.query(`create database ${pg.escapeIdentifier(templateOf(name))}`))
  await migrate({ url: postgres.url(templateOf(name)), dir, log: silentLog })
}
