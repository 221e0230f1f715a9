import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from '../local/postgres.ts'
import { POSTGRES_VARIABLE } from './database.ts'

/**
 * vitest's `globalSetup`: one Postgres for a run, of which each service under test has a database of its own. It says in the environment
 * where it is, so other runners can call it too.
 * @returns what stops it
 */
export default async function setup(): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-test-'))
  const remove = () => rm(dir, { recursive: true, force: true })
  try {
    // Under root Postgres runs as nobody.
    await chmod(dir, 0o755)
    const postgres = await startPostgres({ dir, unsafe: true })
    process.env[POSTGRES_VARIABLE] = postgres.url('')
    return () => postgres.stop().finally(remove)
  } catch (error) {
    await remove()
    throw error
  }
}
