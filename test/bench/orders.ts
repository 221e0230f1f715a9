import { execFileSync } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { JourneyStep } from '@fairlead/chassis'
import { journey } from '../../infra/journey.ts'
import { comeIn, splitJourney } from '../../scripts/journey/load.ts'
import { CommandError, say } from '../../scripts/terminal.ts'
import { makeTables } from '../../services/chassis/data/tables.ts'
import { asSuperuser, type Postgres } from '../../services/chassis/local/postgres.ts'
import { orderContract } from '../../services/order/contract.ts'
import { type Bench, onServerCore, startOrder, startUser, withServers } from './bench.ts'
import type { LoadResult, Posted } from './load.ts'
import { output, type Server } from './processes.ts'
import type { OrdersMeasured } from './report.ts'
import { median, medianRatio } from './statistics.ts'

const ROOT = new URL('../../', import.meta.url)
/** Every statement of an order that the journey places: the fewest, as the services run them, and the transactions that these stand for. */
export const SCRIPTS = {
  fewest: fileURLToPath(new URL('./orders.sql', import.meta.url)),
  inTransactions: fileURLToPath(new URL('./orders-in-transactions.sql', import.meta.url)),
}
const DATABASE = 'bench'
/** As many as the scripts draw from. */
const USERS = 16
const CONCURRENCY = 16

/** A database that has the tables of both services, so that one connection can run all statements of an order. */
async function prepareTables(postgres: Postgres): Promise<void> {
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
function findPgbench(): string | undefined {
  try {
    execFileSync('pgbench', ['--version'], { stdio: 'ignore' })
    return 'pgbench'
  } catch {
    return globSync('/usr/lib/postgresql/*/bin/pgbench').findLast(existsSync)
  }
}

/** Orders a second that a script's statements alone allow, without services around them. */
async function statementsPerSecond({ postgres, signal }: Bench, pgbench: string | undefined, script: string, seconds: number): Promise<number> {
  const url = new URL(postgres.url(DATABASE))
  const { password } = url
  url.password = ''
  const env = { ...process.env, PGPASSWORD: password }
  const printed = pgbench
    ? await output(pgbench, ['-n', '-M', 'prepared', '-c', `${CONCURRENCY}`, '-T', `${Math.ceil(seconds)}`, '-f', script, url.href], { signal, env })
    : await output(
        process.execPath,
        [
          '--disable-warning=ExperimentalWarning',
          fileURLToPath(new URL('./plain-orders.ts', import.meta.url)),
          url.href,
          script,
          `${seconds}`,
          `${CONCURRENCY}`,
        ],
        { signal, env },
      )
  const tps = Number(/^tps = ([\d.]+)/m.exec(printed)?.[1])
  if (!(tps > 0)) throw new CommandError(`no orders were made: ${printed}`)
  return tps
}

/** Orders through both services, and their statements alone, in turn. */
export async function measureOrders(bench: Bench): Promise<void> {
  const { options, signal, postgres, generator, compared } = bench
  const seconds = options.seconds * 2
  await prepareTables(postgres)
  const pgbench = findPgbench()
  const versions = [bench.ours, ...(compared ? [compared] : [])]
  const starts = versions.flatMap(version => [() => startUser(bench, version), () => startOrder(bench, { version })])
  await withServers(starts, async servers => {
    const shops = versions.map((_, i) => ({ users: servers[2 * i] as Server, orders: servers[2 * i + 1] as Server }))
    say('registering users')
    const loads: (() => Promise<LoadResult>)[] = []
    for (const { users, orders } of shops) {
      const posted = await ordersOf({ origin: name => (name === 'user' ? users.url : orders.url), signal })
      loads.push(() => generator.run({ url: orders.url, seconds, connections: CONCURRENCY, posted }))
    }
    const statements = (script: string) => onServerCore(bench, () => statementsPerSecond(bench, pgbench, script, seconds))
    say('warming up orders')
    for (const load of loads) await load()
    await statements(SCRIPTS.fewest)
    const ours = shops.map(() => [] as LoadResult[])
    const bare: number[] = []
    const inTransactions: number[] = []
    const rounds = Math.ceil(options.rounds / 2)
    for (let round = 1; round <= rounds; round++) {
      signal.throwIfAborted()
      say(`round ${round} of ${rounds}, orders and their statements alone for ${seconds} s each`)
      for (const [i, load] of loads.entries()) ours[i]?.push(await load())
      bare.push(await statements(SCRIPTS.fewest))
      inTransactions.push(await statements(SCRIPTS.inTransactions))
    }
    bench.results.orders = {
      statementsPerSecond: median(bare),
      inTransactionsPerSecond: median(inTransactions),
      with: pgbench ? 'pgbench, the same statements' : 'plain pg (no pgbench here), the same statements',
      rows: shops.map(({ orders: { name } }, i) => summary(name, ours[i] as LoadResult[], bare)),
    }
  })
}

/** @throws CommandError when an order was refused */
function summary(name: string, results: readonly LoadResult[], bare: readonly number[]): OrdersMeasured {
  const statuses = results.map(result => result.statuses)
  if (statuses.some(counts => Object.keys(counts).some(status => status !== '201' && status !== '202')))
    throw new CommandError(`orders were answered ${JSON.stringify(statuses)}`)
  const perSecond = results.map(result => result.perSecond)
  return {
    name,
    perSecond: median(perSecond),
    p50Ms: median(results.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(results.map(({ p99Ms }) => p99Ms)),
    ratio: medianRatio(perSecond, bare),
    confirmed: statuses.reduce((sum, counts) => sum + (counts['201'] ?? 0), 0) / results.reduce((sum, { requests }) => sum + requests, 0),
  }
}

/** The orders that the load generator places, as the journey does: by new users in turn. */
export async function ordersOf(services: { origin: (service: string) => string; signal: AbortSignal }): Promise<Posted> {
  const step = splitJourney(journey).repeated.find(({ operation }) => operation === orderContract.placeOrder) as JourneyStep
  const clients = await comeIn(journey, USERS, services)
  const sent = await Promise.all(clients.map(({ way }) => way.filled({ as: step.as, body: step.body, headers: {} }, 'the bench')))
  return { path: step.operation.path, body: JSON.stringify(sent[0]?.body), tokens: sent.map(({ as }) => as as string) }
}
