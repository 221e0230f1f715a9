import { Agent, request } from 'node:http'
import { Agent as TlsAgent, request as tlsRequest } from 'node:https'
import type { Attributes } from '@opentelemetry/api'
import { encodeSpan, envelope } from './otlp.ts'
import type { SpanSink } from './spans.ts'

export interface ExporterOptions {
  /** OTLP/HTTP base URL, e.g. `http://127.0.0.1:4318`. */
  endpoint: string
  resource: Attributes
  /** Told how many spans are lost, each time that some are. */
  onLost?: (count: number) => void
}

export interface Exporter extends SpanSink {
  /** Sends what is queued. @throws nothing: what cannot be sent is lost */
  close(): Promise<void>
}

/** Spans that wait or are on their way. With the collector gone others are lost, and nothing else changes. */
const MAX_QUEUED = 4_096
const MAX_BATCH = 512
/** Batches that are on their way at once. */
const MAX_UNDER_WAY = 4
const PERIOD_MS = 1_000
const TIMEOUT_MS = 2_000
/** https://opentelemetry.io/docs/specs/otlp/#failures-1 */
const WORTH_RETRYING = new Set([429, 502, 503, 504])

/** Spans that go out together, encoded. */
interface Batch {
  bytes: Buffer
  length: number
  spans: number
}

const BATCH_BYTES = 512 * 1_024

/**
 * Sends ended spans by OTLP/HTTP in JSON, in batches: as soon as one is full, and each second what there is. A span is encoded as it ends,
 * into bytes outside of V8's heap: objects or texts that wait would be copied from generation to generation.
 */
export function openExporter({ endpoint, resource, onLost = () => {} }: ExporterOptions): Exporter {
  const post = poster(`${endpoint.replace(/\/$/, '')}/v1/traces`)
  const { head, tail } = envelope(resource)
  const full: Batch[] = []
  const spare: Buffer[] = []
  const pending = new Set<Promise<void>>()
  let filling: Batch | undefined
  /** Spans that wait or are on their way. */
  let held = 0
  let pausedUntil = 0
  let closing = false
  let timer: NodeJS.Timeout | undefined

  const begin = (): Batch => {
    const bytes = spare.pop() ?? Buffer.allocUnsafeSlow(BATCH_BYTES)
    return { bytes, length: bytes.write(head, 'latin1'), spans: 0 }
  }
  const close = (batch: Batch) => {
    // In the place of the last comma.
    batch.length += batch.bytes.write(tail, batch.length - 1, 'latin1') - 1
    full.push(batch)
    filling = undefined
  }
  const lose = (count: number) => {
    held -= count
    onLost(count)
  }
  const send = async (batch: Batch) => {
    const outcome = await post.send(batch.bytes.subarray(0, batch.length))
    if (outcome !== 'taken') pausedUntil = performance.now() + PERIOD_MS
    if (outcome === 'later' && !closing) {
      full.unshift(batch)
      follow()
      return
    }
    if (outcome === 'taken') held -= batch.spans
    else lose(batch.spans)
    if (spare.length === 0) spare.push(batch.bytes)
  }
  const flush = () => {
    while (full.length > 0 && (closing || (pending.size < MAX_UNDER_WAY && performance.now() >= pausedUntil))) {
      const sending: Promise<void> = send(full.shift() as Batch).finally(() => {
        pending.delete(sending)
        flush()
      })
      pending.add(sending)
    }
  }
  /** What is there goes out in a while. */
  const follow = () => {
    timer ??= setTimeout(() => {
      timer = undefined
      // While others wait it goes on filling: each batch is half a megabyte, however few spans it has.
      if (filling && full.length === 0) close(filling)
      flush()
      if (full.length > 0 || filling) follow()
    }, PERIOD_MS).unref()
  }
  return {
    onEnd: span => {
      if (held >= MAX_QUEUED) {
        onLost(1)
        return
      }
      const text = encodeSpan(span)
      // As many bytes as its characters can need, beside the comma and the tail.
      const needed = text.length * 3 + tail.length + 1
      if (needed + head.length > BATCH_BYTES) {
        onLost(1)
        return
      }
      if (filling && filling.length + needed > BATCH_BYTES) close(filling)
      filling ??= begin()
      filling.length += filling.bytes.write(text, filling.length)
      filling.length += filling.bytes.write(',', filling.length, 'latin1')
      held++
      if (++filling.spans === MAX_BATCH) close(filling)
      if (full.length > 0) flush()
      follow()
    },
    close: async () => {
      closing = true
      clearTimeout(timer)
      if (filling) close(filling)
      flush()
      await Promise.all(pending)
      post.close()
    },
  }
}

type Outcome = 'taken' | 'later' | 'never'

function poster(url: string): { send(body: Buffer): Promise<Outcome>; close(): void } {
  const { protocol } = new URL(url)
  const isTls = protocol === 'https:'
  const agent = isTls ? new TlsAgent({ keepAlive: true }) : new Agent({ keepAlive: true })
  const options = { method: 'POST', agent, headers: { 'content-type': 'application/json' } }
  return {
    send: body =>
      new Promise(resolve => {
        const sending = (isTls ? tlsRequest : request)(url, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) }, answer => {
          const { statusCode = 0 } = answer
          answer.on('error', () => resolve('later'))
          answer.on('end', () => resolve(statusCode < 300 ? 'taken' : WORTH_RETRYING.has(statusCode) ? 'later' : 'never'))
          answer.resume()
        })
        sending.on('error', () => resolve('later'))
        sending.end(body)
      }),
    close: () => agent.destroy(),
  }
}
