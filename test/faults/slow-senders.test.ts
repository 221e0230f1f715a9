import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ServiceProcess } from '../../scripts/local/service-process.ts'
import { newId } from '../../services/chassis/contract/ids.ts'
import { adminStatus, type Customer, type LocalShop, prepareLocalShop } from '../shop/support/local-shop.ts'

/** Three times as long as the longest that a service waits for anybody: 10 s for the head of a request. */
const ATTACK_MS = 30_000
/** An address of the loopback range that is not the honest callers'. */
const ATTACKER = '127.0.0.2'

let shop: LocalShop
let user: ServiceProcess
let order: ServiceProcess
let customer: Customer
const login = { email: 'ada@example.org', password: 'correct horse battery' }

beforeAll(async () => {
  shop = await prepareLocalShop()
  user = await shop.startUser()
  order = await shop.startOrder()
  customer = await shop.newCustomer()
  await shop.toUser('POST', '/users', { json: { ...login, name: 'Ada' } })
}, 60_000)
afterAll(() => shop?.close(), 60_000)

interface Attack {
  name: string
  url: () => string
  connections: number
  /** Sent at once, e.g. a head without its body. */
  first: string
  /** Sent again every `everyMs`. */
  next?: string
  everyMs?: number
}

const head = (method: string, path: string, ...lines: string[]) => `${[`${method} ${path} HTTP/1.1`, 'host: a', ...lines].join('\r\n')}\r\n\r\n`
const withBody = ['content-type: application/json', 'content-length: 1000']
const endless = ['transfer-encoding: chunked']
const chunk = `1000\r\n${'a'.repeat(4_096)}\r\n`

const attacks: Attack[] = [
  { name: 'bodies of log-ins', url: () => shop.userUrl, connections: 300, first: `${head('POST', '/sessions', ...withBody)}{` },
  {
    name: 'bodies of registrations, a byte at a time',
    url: () => shop.userUrl,
    connections: 100,
    first: head('POST', '/users', ...withBody),
    next: ' ',
    everyMs: 500,
  },
  { name: 'bodies of orders', url: () => shop.orderUrl, connections: 300, first: `${head('POST', '/orders', ...withBody)}{` },
  {
    name: 'endless bodies of what takes none',
    url: () => shop.orderUrl,
    connections: 20,
    first: head('GET', '/products', ...endless),
    next: chunk,
    everyMs: 20,
  },
  {
    name: 'heads, a line at a time',
    url: () => shop.orderUrl,
    connections: 300,
    first: 'GET /products HTTP/1.1\r\n',
    next: 'x-more: of it\r\n',
    everyMs: 1_000,
  },
  { name: 'nothing at all', url: () => shop.userUrl, connections: 500, first: '' },
]

/** Keeps as many connections open as the attack has, until it is stopped. */
function attack({ url, connections, first, next, everyMs }: Attack, signal: AbortSignal): Promise<unknown> {
  const port = Number(new URL(url()).port)
  const one = async () => {
    while (!signal.aborted) {
      const socket: Socket = connect({ port, host: '127.0.0.1', localAddress: ATTACKER })
      socket.on('error', () => {}).resume()
      socket.write(first)
      const dribble = next === undefined ? undefined : setInterval(() => socket.write(next), everyMs)
      const stop = () => socket.destroy()
      signal.addEventListener('abort', stop, { once: true })
      await new Promise(resolve => socket.once('close', resolve))
      signal.removeEventListener('abort', stop)
      clearInterval(dribble)
      await sleep(50, undefined, { signal }).catch(() => {})
    }
  }
  return Promise.all(Array.from({ length: connections }, one))
}

/** What honest callers ask, with the status that they get when nothing else goes on. */
const honest: [what: string, everyMs: number, status: number, ask: () => Promise<{ status: number }>][] = [
  ['log-in', 500, 201, () => shop.toUser('POST', '/sessions', { json: login })],
  ['own account', 100, 200, () => shop.toUser('GET', '/users/me', { token: customer.token })],
  ['products', 50, 200, () => shop.toOrder('GET', '/products')],
  [
    'order',
    500,
    201,
    () =>
      shop.toOrder('POST', '/orders', {
        token: customer.token,
        json: { items: [{ sku: 'usb-c-cable', quantity: 1 }] },
        headers: { 'idempotency-key': newId() },
      }),
  ],
]

test('whoever sends slowly keeps nobody else out', async () => {
  for (const [what, , status, ask] of honest) expect([what, (await ask()).status]).toEqual([what, status])
  const over = new AbortController()
  const attacking = Promise.all(attacks.map(one => attack(one, over.signal)))
  const seen: Record<string, number> = {}
  let asked = 0
  let asBefore = 0
  const callers = honest.map(async ([what, everyMs, status, ask]) => {
    const endsAt = performance.now() + ATTACK_MS
    while (performance.now() < endsAt) {
      const got = await ask().then(
        reply => reply.status,
        (error: Error) => error.name,
      )
      asked++
      // Credit ends at some time, which is an answer as good as any: the limit of the account, not of the service.
      if (got === status || (what === 'order' && got === 422)) asBefore++
      seen[`${what} ${got}`] = (seen[`${what} ${got}`] ?? 0) + 1
      await sleep(everyMs)
    }
  })
  await Promise.all(callers)
  const alive = await Promise.all([user, order].flatMap(running => ['/livez', '/readyz'].map(path => adminStatus(running, path))))
  over.abort()
  await attacking
  process.stdout.write(`${asBefore} of ${asked} as before: ${JSON.stringify(seen)}\n`)
  expect(alive).toEqual([200, 200, 200, 200])
  expect(asked).toBeGreaterThan(200)
  expect(asBefore / asked).toBeGreaterThanOrEqual(0.99)
}, 120_000)
