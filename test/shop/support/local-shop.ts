import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { system } from '../../../infra/system.ts'
import { freePorts, type LocalSystem, prepareLocalSystem } from '../../../scripts/local/local-system.ts'
import type { LocalPorts, ServiceProcess, StartOptions } from '../../../scripts/local/service-process.ts'
import { newId } from '../../../services/chassis/contract/ids.ts'
import { asSuperuser, type Postgres, startPostgres } from '../../../services/chassis/local/postgres.ts'
import { orderContract } from '../../../services/order/contract.ts'
import { order } from '../../../services/order/service.ts'
import { userContract } from '../../../services/user/contract.ts'
import { user } from '../../../services/user/service.ts'
import { type Http, httpTo } from '../../support/http.ts'
import { processesOf } from '../../support/process-tree.ts'

export const PATIENCE = { timeout: 25_000, interval: 50 }

export interface Customer {
  id: string
  token: string
}

export interface LocalShop {
  dir: string
  postgres: Postgres
  local: LocalSystem
  /** Where the services will listen, also before they are started. */
  userUrl: string
  orderUrl: string
  /** The user service's gRPC, for a proxy in front of it. */
  userGrpc: { host: string; name: string; puts: readonly string[] }
  toUser: Http
  toOrder: Http
  startUser(options?: StartOptions): Promise<ServiceProcess>
  startOrder(options?: StartOptions): Promise<ServiceProcess>
  newCustomer(): Promise<Customer>
  sql<Row>(database: 'user' | 'order', text: string, values?: unknown[]): Promise<Row[]>
  /** Waits until no order is under way and the outbox is empty. */
  untilSettled(): Promise<void>
  /** For every user: reserved is what is confirmed, within the limit, and agrees with the reservations. */
  expectCreditAgrees(): Promise<void>
  close(): Promise<void>
}

/** The shop as processes on free ports with a Postgres of its own; the test starts the services when it wants them. */
export async function prepareLocalShop({ unsafe = true, linger = '0' }: { unsafe?: boolean; linger?: string } = {}): Promise<LocalShop> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-shop-'))
  await chmod(dir, 0o755)
  const postgres = await startPostgres({ dir: join(dir, 'postgres'), unsafe })
  const ports = new Map<string, LocalPorts>()
  for (const service of system.services) ports.set(service.name, await freePorts(service))
  const local = await prepareLocalSystem({ system, dir, postgres, portsOf: ({ name }) => ports.get(name) as LocalPorts }).catch(async error => {
    await postgres.stop()
    throw error
  })
  const started: ServiceProcess[] = []
  const start = async (service: typeof user | typeof order, { env, ...options }: StartOptions = {}) => {
    const running = await local.start(service, { ...options, env: { LINGER_MS: linger, ...env } })
    started.push(running)
    return running
  }
  const urlOf = (service: { name: string }) => `http://127.0.0.1:${local.ports[service.name]?.port}`
  const toUser = httpTo(urlOf(user), userContract)
  const sql: LocalShop['sql'] = (database, text, values = []) =>
    asSuperuser(postgres, database, async client => (await client.query(text, values)).rows)
  return {
    dir,
    postgres,
    local,
    userUrl: urlOf(user),
    orderUrl: urlOf(order),
    userGrpc: { host: `127.0.0.1:${local.ports[user.name]?.grpcPort}`, name: user.name, puts: ['ReserveCredit'] },
    toUser,
    toOrder: httpTo(urlOf(order), orderContract),
    // All customers of a test come from one address.
    startUser: options => start(user, { ...options, env: { REGISTRATIONS_PER_ADDRESS: '10000', ...options?.env } }),
    startOrder: options => start(order, options),
    newCustomer: async () => {
      const login = { email: `${newId()}@example.org`, password: 'correct horse battery' }
      const { body } = await toUser('POST', '/users', { json: { ...login, name: 'Ada' } })
      const session = await toUser('POST', '/sessions', { json: login })
      return { id: body.id, token: session.body.accessToken }
    },
    sql,
    untilSettled: () =>
      vi.waitFor(async () => {
        const under = "state in ('pending', 'cancelling')"
        const [left] = await sql(
          'order',
          `select (select count(*)::int from orders where ${under}) as orders, (select count(*)::int from outbox) as messages`,
        )
        expect(left).toEqual({ orders: 0, messages: 0 })
      }, PATIENCE),
    expectCreditAgrees: () => expectCreditAgrees(sql),
    close: async () => {
      await Promise.all(started.map(running => running.stop(5_000)))
      await postgres.stop().catch(() => {})
      expect(processesOf(dir)).toEqual([])
      await rm(dir, { recursive: true, force: true })
    },
  }
}

async function expectCreditAgrees(sql: LocalShop['sql']): Promise<void> {
  const confirmed = await sql<{ userId: string; amount: number }>(
    'order',
    `select user_id as "userId", sum(total_amount)::int as amount from orders where state = 'confirmed' group by user_id`,
  )
  const accounts = await sql<{ userId: string; reserved: number; limit: number; held: number }>(
    'user',
    `select user_id as "userId", reserved_amount::int as reserved, limit_amount::int as limit,
       (select coalesce(sum(amount), 0)::int from reservations r where r.user_id = a.user_id and state = 'reserved') as held
     from credit_accounts a`,
  )
  for (const { userId, reserved, limit, held } of accounts) {
    const sum = confirmed.find(row => row.userId === userId)?.amount ?? 0
    expect({ reserved, held }, `credit of ${userId}`).toEqual({ reserved: sum, held: sum })
    expect(reserved).toBeLessThanOrEqual(limit)
  }
}

/** Status of a service's admin path, or undefined when it does not answer within 5 s. */
export const adminStatus = (running: ServiceProcess, path: string): Promise<number | undefined> =>
  fetch(running.adminUrl + path, { signal: AbortSignal.timeout(5_000) }).then(
    answer => answer.status,
    () => undefined,
  )

/** The value of one series on a service's /metrics, 0 when there is none. */
export async function scraped(running: ServiceProcess, series: string): Promise<number> {
  const text = await (await fetch(`${running.adminUrl}/metrics`, { signal: AbortSignal.timeout(5_000) })).text()
  const line = text.split('\n').find(candidate => candidate.startsWith(`${series} `))
  return line ? Number(line.slice(series.length + 1)) : 0
}
