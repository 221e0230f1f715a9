// The load generator, a process of its own that stays, so that its code is hot: takes LoadOptions or Arrivals as messages and answers each.
import { randomUUID } from 'node:crypto'
import autocannon from 'autocannon'
import { type Arrivals, arrive } from './arrivals.ts'

export interface LoadOptions {
  url: string
  seconds: number
  connections: number
  /** What is posted; without it the URL is asked for. */
  posted?: Posted | undefined
}

export interface Posted {
  path: string
  /** JSON, sent with an idempotency key of its own each time. */
  body: string
  /** Of the users who send it, in turn. */
  tokens: string[]
}

export interface LoadResult {
  requests: number
  perSecond: number
  p50Ms: number
  p99Ms: number
  /** How many answers had each status. */
  statuses: Record<string, number>
}

async function load({ url, seconds, connections, posted }: LoadOptions): Promise<LoadResult> {
  const times: number[] = []
  const statuses: Record<string, number> = {}
  const run = autocannon({ url, connections, duration: seconds, sampleInt: 50, ...(posted && { requests: [requestOf(posted)] }) })
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

function requestOf({ path, body, tokens }: Posted) {
  let turn = 0
  return {
    method: 'POST',
    path,
    headers: { 'content-type': 'application/json' },
    body,
    setupRequest: (request: { headers?: Record<string, string> }) => ({
      ...request,
      headers: { ...request.headers, authorization: `Bearer ${tokens[turn++ % tokens.length]}`, 'idempotency-key': randomUUID() },
    }),
  }
}

process.on('message', async (options: LoadOptions | Arrivals) => {
  const done = 'arrivalsPerSecond' in options ? arrive(options) : load(options)
  process.send?.(await done.catch((error: Error) => ({ error: error.message })))
})
