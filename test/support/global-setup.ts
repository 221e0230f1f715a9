import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { TestProject } from 'vitest/node'
import { system } from '../../infra/system.ts'
import { asSuperuser, startPostgres } from '../../scripts/postgres.ts'
import { migrate } from '../../services/chassis/migrate.ts'
import { silentLog } from './runtime.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** URL of the superuser on the run's Postgres, without a database. */
    postgresUrl: string
  }
}

export const templateOf = (service: string) => `template_${service}`

/** One Postgres a run, with a migrated template database a service, from which each test file copies its own. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-test-'))
  await chmod(dir, 0o755)
  const postgres = await startPostgres({ dir, unsafe: true })
  for (const { name } of system.services) {
    await asSuperuser(postgres, 'postgres', client => client.query(`create database ${pg.escapeIdentifier(templateOf(name))}`))
    await migrate({ url: postgres.url(templateOf(name)), dir: `services/${name}/migrations`, log: silentLog })
  }
  project.provide('postgresUrl', postgres.url(''))
  return async () => {
    await postgres.stop()
    await rm(dir, { recursive: true, force: true })
  }
}
