// The load generator, a process of its own that stays, so that its code is hot: takes LoadOptions as messages, answers LoadResults.
import { randomUUID } from 'node:crypto'
import autocannon from 'autocannon'

export interface LoadOptions {
  url: string
  seconds: number
  connections: number
  /** With tokens: POST an order with a key of its own, as each user in turn. Without: GET the URL. */
  tokens?: string[]
}

export interface LoadResult {
  requests: number
  perSecond: number
  p50Ms: number
  p99Ms: number
  /** How many answers had each status. */
  statuses: Record<string, number>
}

async function load({ url, seconds, connections, tokens }: LoadOptions): Promise<LoadResult> {
  const times: number[] = []
  const statuses: Record<string, number> = {}
  const run = autocannon({ url, connections, duration: seconds, sampleInt: 50, ...(tokens && { requests: [orderRequest(tokens)] }) })
  const startedAt = performance.now()
  let lastAt = startedAt
  run.on('response', (_client, status, _bytes, ms) => {
    times.push(ms)
    statuses[status] = (statuses[status] ?? 0) + 1
    lastAt = performance.now()
  })
  const { errors, timeouts } = await run
  if (errors + timeouts > 0) throw new Error(`${url}: ${errors} errors, ${timeouts} timeouts`)
  times.sort((a, b) => a - b)
  const quantile = (q: number) => times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? Number.NaN
  return { requests: times.length, perSecond: (times.length / (lastAt - startedAt)) * 1_000, p50Ms: quantile(0.5), p99Ms: quantile(0.99), statuses }
}

function orderRequest(tokens: string[]) {
  let turn = 0
  return {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ items: [{ sku: 'usb-c-cable', quantity: 1 }] }),
    setupRequest: (request: { headers?: Record<string, string> }) => ({
      ...request,
      headers: { ...request.headers, authorization: `Bearer ${tokens[turn++ % tokens.length]}`, 'idempotency-key': randomUUID() },
    }),
  }
}

process.on('message', async (options: LoadOptions) => {
  process.send?.(await load(options).catch((error: Error) => ({ error: error.message })))
})
