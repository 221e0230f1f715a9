import type { IncomingMessage } from 'node:http'
import type { Middleware } from 'koa'
import { parseStrictJson } from './json.ts'
import { ProblemError } from './problem.ts'

export interface BodyLimits {
  /** @default 65536 (64 KiB) */
  maxBytes?: number
  /** Time for the whole body to arrive, in milliseconds; below the deadline. @default 800 */
  timeoutMs?: number
}

const tooLarge = (maxBytes: number) =>
  new ProblemError(413, 'body-too-large', `The body is larger than ${maxBytes} bytes`, { headers: { connection: 'close' } })

/** Refuses a body that announces itself as too large, before anything else is spent on it, and sets the limits for reading. */
export function limitBody({ maxBytes = 65_536, timeoutMs = 800 }: BodyLimits = {}): Middleware {
  return (ctx, next) => {
    if (Number(ctx.get('content-length')) > maxBytes) throw tooLarge(maxBytes)
    ctx.state.readJson = () => readJson(ctx.req, maxBytes, timeoutMs)
    return next()
  }
}

/**
 * Reads and parses a JSON body.
 * @throws ProblemError 415 without `application/json`, 413 over `maxBytes`, 408 after `timeoutMs`, 400 for what is not strict JSON
 */
async function readJson(req: IncomingMessage, maxBytes: number, timeoutMs: number): Promise<unknown> {
  const type = req.headers['content-type'] ?? ''
  if (!/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) {
    throw new ProblemError(415, 'unsupported-media-type', 'Send the body as application/json', { headers: { accept: 'application/json' } })
  }
  return parseStrictJson(await readBytes(req, maxBytes, timeoutMs))
}

function readBytes(req: IncomingMessage, maxBytes: number, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const timer = setTimeout(() => fail(slow()), timeoutMs)
    const settle = () => {
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
      else chunks.push(chunk)
    }
    const onEnd = () => {
      settle()
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))
    }
    const onGone = () => fail(new ProblemError(400, 'invalid-request', 'The connection closed before the body was complete'))
    req.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone)
  })
}

const slow = () => new ProblemError(408, 'request-timeout', 'The body did not arrive in time', { headers: { connection: 'close' } })
