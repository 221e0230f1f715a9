import { type Customer, http, logIn, ORDERS_PER_CUSTOMER, placeOrder, type Reply } from './shop.ts'
import { report } from './target.ts'

export interface LoadResult {
  /** Requests by what was asked and what was answered, e.g. `GET /products 200`. */
  answers: Record<string, number>
  /** What was refused, reset, or answered neither 200, 201 nor 202. */
  failures: string[]
  /** Orders that were taken, with their customer. */
  orders: { id: string; token: string }[]
  /** How long each answer took, in milliseconds, the longest last. */
  durationsMs: number[]
}

export interface LoadOptions {
  productsPerSecond: number
  ordersPerSecond: number
  customers: readonly Customer[]
}

const PRODUCTS_PER_SECOND = 50
const ORDERS_PER_SECOND = 20

/** Offers load while something is done to the cluster, and counts what failed. */
export async function underLoad(title: string, customers: readonly Customer[], work: () => Promise<unknown>): Promise<LoadResult> {
  const fresh: Customer[] = []
  for (const customer of customers) fresh.push({ ...customer, token: await logIn(customer) })
  const load = startLoad({ productsPerSecond: PRODUCTS_PER_SECOND, ordersPerSecond: ORDERS_PER_SECOND, customers: fresh })
  let result: LoadResult
  try {
    await work()
  } finally {
    result = await load.stop()
  }
  const total = Object.values(result.answers).reduce((sum, count) => sum + count, 0)
  const at = (share: number) => Math.round(result.durationsMs[Math.ceil(share * total) - 1] ?? Number.NaN)
  report(
    `${title}: ${total} answers (${Object.entries(result.answers)
      .map(([what, count]) => `${count} ${what}`)
      .join(', ')}), ${result.failures.length} failed; p99 ${at(0.99)} ms, longest ${at(1)} ms`,
  )
  return result
}

/** Offers load at fixed rates, whatever the answers: a slow service does not slow its callers down. */
export function startLoad({ productsPerSecond, ordersPerSecond, customers }: LoadOptions): { stop(): Promise<LoadResult> } {
  const result: LoadResult = { answers: {}, failures: [], orders: [], durationsMs: [] }
  const running = new Set<Promise<void>>()
  const startedAt = performance.now()
  let products = 0
  let orders = 0

  const ask = (what: string, send: () => Promise<Reply>, accepted: (reply: Reply) => void) => {
    const sentAt = performance.now()
    const at = ((sentAt - startedAt) / 1_000).toFixed(1)
    const done = send()
      .then(reply => {
        const key = `${what} ${reply.status}`
        result.durationsMs.push(performance.now() - sentAt)
        result.answers[key] = (result.answers[key] ?? 0) + 1
        if ([200, 201, 202].includes(reply.status)) accepted(reply)
        else result.failures.push(`${at} s: ${key} ${JSON.stringify(reply.body).slice(0, 200)}`)
      })
      .catch((error: NodeJS.ErrnoException) => {
        result.failures.push(`${at} s: ${what} ${error.code ?? error.name} ${error.message}`)
      })
      .finally(() => running.delete(done))
    running.add(done)
  }

  const tick = setInterval(() => {
    const elapsed = (performance.now() - startedAt) / 1_000
    for (; products < elapsed * productsPerSecond; products++)
      ask(
        'GET /products/{sku}',
        () => http('GET', '/products/iphone-17'),
        () => {},
      )
    for (; orders < elapsed * ordersPerSecond; orders++) {
      const customer = customers[Math.floor(orders / ORDERS_PER_CUSTOMER)]
      if (!customer) return
      const { token } = customer
      ask(
        'POST /orders',
        () => placeOrder(token),
        ({ body }) => result.orders.push({ id: body.id, token }),
      )
    }
  }, 10)

  return {
    stop: async () => {
      clearInterval(tick)
      await Promise.all(running)
      result.durationsMs.sort((a, b) => a - b)
      return result
    },
  }
}
