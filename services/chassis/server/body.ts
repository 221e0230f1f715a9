import type { IncomingMessage } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import type { Context, Middleware } from 'koa'
import { overloaded, tooManyRequests } from '../contract/failure.ts'
import { MAX_ARRIVING_BODIES, MAX_BODY_BYTES } from '../contract/limits.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { lendPlace } from './admission.ts'
import { parseStrictJson } from './json.ts'
import { createPieces } from './pieces.ts'
import { createPlaces, type PlaceLimits } from './places.ts'
import { ProblemError, problemOf } from './problem.ts'

export interface BodyLimits {
  /** Of an operation that names no `maxBodyBytes`. @default 65536 (64 KiB) */
  maxBytes?: number
  /** Time for the whole body to arrive, in milliseconds; below the deadline. @default 800 */
  timeoutMs?: number
  /** Bodies that may be on their way at once. @default 256, 16 of one source */
  arriving?: PlaceLimits
}

const CLOSE = { connection: 'close' }

const tooLarge = (maxBytes: number) => new ProblemError(413, 'body-too-large', `The body is larger than ${maxBytes} bytes`, { headers: CLOSE })

/** What a transport wants of a request's body. */
export interface Wanted {
  /** Longest body of a request in bytes. */
  limit(ctx: Context, maxBytes: number): number
  /** Whether there is to be one. */
  any(ctx: Context): boolean
  take(ctx: Context, bytes: Buffer): void
}

const JSON_BODY: Wanted = {
  limit: (ctx, maxBytes) => ctx.state.match.operation?.maxBodyBytes ?? maxBytes,
  any: ctx => ctx.state.match.operation?.body !== undefined,
  take: (ctx, bytes) => {
    ctx.state.json = () => parseJson(ctx.get('content-type'), bytes)
  },
}

/**
 * Receives the body before a request counts as work: what is still arriving holds a place of its own kind, and few of them per source,
 * so that whoever sends slowly keeps nobody else out.
 * @param wanted @default JSON, where the operation has a body
 * @throws ProblemError 413 over the limit, 408 after `timeoutMs`, 429 or 503 when no place is left
 */
export function receiveBody(
  metrics: Metrics,
  { maxBytes = MAX_BODY_BYTES, timeoutMs = 800, arriving = { total: MAX_ARRIVING_BODIES, perSource: 16 } }: BodyLimits = {},
  wanted: Wanted = JSON_BODY,
): Middleware {
  const places = createPlaces(arriving)
  const refused = metrics.counter(
    'http_server_refused_bodies_total',
    'Requests refused because too many bodies were arriving, in all or from their source',
    ['limit'],
    [{ limit: 'total' }, { limit: 'source' }],
  )
  return async (ctx, next) => {
    const limit = wanted.limit(ctx, maxBytes)
    if (Number(ctx.get('content-length')) > limit) throw tooLarge(limit)
    if (wanted.any(ctx)) {
      const source: string = ctx.state.address()
      const full = places.take(source)
      if (full) {
        refused.inc({ limit: full })
        throw problemOf(full === 'source' ? tooManyRequests('Too many bodies from your address are still arriving') : overloaded(), CLOSE)
      }
      const takeBack = lendPlace(ctx.req)
      try {
        wanted.take(ctx, await readBytes(ctx.req, limit, timeoutMs))
      } finally {
        takeBack()
        places.give(source)
      }
    }
    return next()
  }
}

/**
 * Outermost: an answer to a request whose body was not read to its end closes the connection. Reading on would let a caller send for
 * ever, and what it sent would be taken for its next request.
 */
export function closeUnread(): Middleware {
  return async (ctx, next) => {
    try {
      await next()
    } finally {
      // What came with the head is parsed by the next turn of the event loop.
      if (hasBody(ctx.req) && !ctx.req.complete) await setImmediate()
      if (hasBody(ctx.req) && !ctx.req.complete && !ctx.headerSent) ctx.set('connection', 'close')
    }
  }
}

/** RFC 9112 section 6.3. */
const hasBody = ({ headers }: IncomingMessage) => headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

/** @throws ProblemError 415 without `application/json`, 400 for what is not strict JSON */
function parseJson(type: string, bytes: Uint8Array): unknown {
  if (/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) return parseStrictJson(bytes)
  throw new ProblemError(415, 'unsupported-media-type', 'Send the body as application/json', { headers: { accept: 'application/json' } })
}

function readBytes(req: IncomingMessage, maxBytes: number, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces = createPieces()
    let size = 0
    let isSettled = false
    // A process that stood still wakes to its timers first: what has come meanwhile is read in the turn that follows.
    const timer = setTimeout(async () => {
      await setImmediate()
      if (!isSettled) fail(slow())
    }, timeoutMs)
    const settle = () => {
      isSettled = true
      clearTimeout(timer)
      req.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone)
    }
    const fail = (error: Error) => {
      settle()
      req.pause()
      reject(error)
    }
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) fail(tooLarge(maxBytes))
      else pieces.add(chunk)
    }
    const onEnd = () => {
      settle()
      resolve(pieces.whole())
    }
    const onGone = () => fail(new ProblemError(400, 'invalid-request', 'The connection closed before the body was complete'))
    req.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone)
  })
}

const slow = () => new ProblemError(408, 'request-timeout', 'The body did not arrive in time', { headers: CLOSE })
