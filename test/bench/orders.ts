import { execFileSync } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { journey } from '../../infra/journey.ts'
import { runJourney, type Taken } from '../../scripts/journey/run-journey.ts'
import { CommandError } from '../../scripts/terminal.ts'
import { makeTables } from '../../services/chassis/data/tables.ts'
import { asSuperuser, type Postgres } from '../../services/chassis/local/postgres.ts'
import { user } from '../../services/user/service.ts'
import { output } from './processes.ts'

const ROOT = new URL('../../', import.meta.url)
const SCRIPT = fileURLToPath(new URL('./orders.sql', import.meta.url))
const DATABASE = 'bench'
/** As many as orders.sql draws from. */
const USERS = 16
export const CONCURRENCY = 16

/** A database that has the tables of both services, so that one connection can run all statements of an order. */
export async function prepareTables(postgres: Postgres): Promise<void> {
  await asSuperuser(postgres, 'postgres', client => client.query(`create database ${DATABASE}`))
  await asSuperuser(postgres, DATABASE, async client => {
    await makeTables(client)
    for (const path of globSync('services/*/migrations/*.sql', { cwd: ROOT }).sort()) {
      const sql = await readFile(new URL(path, ROOT), 'utf8')
      await client.query(sql.split('-- Down Migration')[0] as string)
    }
    await client.query(`
      insert into users (id, email, email_key, name, password_hash)
        select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, n, n, n, '-' from generate_series(1, ${USERS}) n;
      insert into credit_accounts (user_id, limit_amount, currency) select id, 9000000000000000, 'EUR' from users`)
  })
}

/** The path of a pgbench, or undefined. */
export function findPgbench(): string | undefined {
  try {
    execFileSync('pgbench', ['--version'], { stdio: 'ignore' })
    return 'pgbench'
  } catch {
    return globSync('/usr/lib/postgresql/*/bin/pgbench').findLast(existsSync)
  }
}

/** Orders a second that the statements alone allow, without services around them. */
export async function statementsPerSecond(postgres: Postgres, pgbench: string | undefined, seconds: number, signal: AbortSignal): Promise<number> {
  const url = new URL(postgres.url(DATABASE))
  const { password } = url
  url.password = ''
  const env = { ...process.env, PGPASSWORD: password }
  const printed = pgbench
    ? await output(pgbench, ['-n', '-M', 'prepared', '-c', `${CONCURRENCY}`, '-T', `${Math.ceil(seconds)}`, '-f', SCRIPT, url.href], { signal, env })
    : await output(
        process.execPath,
        [
          '--disable-warning=ExperimentalWarning',
          fileURLToPath(new URL('./plain-orders.ts', import.meta.url)),
          url.href,
          SCRIPT,
          `${seconds}`,
          `${CONCURRENCY}`,
        ],
        { signal, env },
      )
  const tps = Number(/^tps = ([\d.]+)/m.exec(printed)?.[1])
  if (!(tps > 0)) throw new CommandError(`no orders were made: ${printed}`)
  return tps
}

/** How a customer comes to a token: the journey up to its first order. */
const entrance = {
  steps: journey.steps.slice(
    0,
    journey.steps.findIndex(({ service }) => service !== user),
  ),
}

/** @returns access tokens of new users */
export async function makeUsers(url: string, signal: AbortSignal): Promise<string[]> {
  const tokens: string[] = []
  for (let n = 1; n <= USERS; n++) {
    const session = (await runJourney(entrance, { origin: () => url, signal })).at(-1)
    tokens.push((session as Taken<{ accessToken: string }>).body.accessToken)
  }
  return tokens
}
