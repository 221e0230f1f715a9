import type { Middleware } from 'koa'
import { createDeadline, unlessAborted } from '../../contract/deadline.ts'
import { HEALTH_SERVICE, readHealthRequest, writeHealth } from '../../grpc/health.ts'
import type { Health } from '../health.ts'
import { callOf, type Reply } from './call.ts'
import { readMessages, StreamRefused } from './messages.ts'

/** Longest wait for a request and for the checks, in milliseconds: those of a service end before. */
const MAX_MS = 2_000

const BOUNDS = { maxBytes: 1_024, maxMessages: 1 }

/**
 * The standard health service: the process's own readiness, as /readyz tells it. It takes no token, and is no operation of the contract, so that
 * probes count in no SLO. Watch is not served, which clients take for healthy.
 * @param services whose health is known, by their full names
 */
export function grpcHealth(health: Pick<Health, 'failing'>, services: readonly string[]): Middleware {
  const known = new Set(['', ...services])
  return async (ctx, next) => {
    if (ctx.req.url === `/${HEALTH_SERVICE}/Check`) callOf(ctx).reply = await check(ctx.req, health, known)
    else if (ctx.req.url === `/${HEALTH_SERVICE}/Watch`) callOf(ctx).reply = { code: 'UNIMPLEMENTED', detail: 'Ask by Check' }
    else await next()
  }
}

async function check(req: Parameters<typeof readMessages>[0], health: Pick<Health, 'failing'>, known: ReadonlySet<string>): Promise<Reply> {
  const { signal, clear } = createDeadline(MAX_MS)
  try {
    let asked: string | undefined
    for await (const message of readMessages(req, BOUNDS, signal)) asked = read(message)
    if (asked === undefined) return { code: 'INVALID_ARGUMENT', detail: 'A call carries exactly one message' }
    if (!known.has(asked)) return { code: 'NOT_FOUND', detail: 'There is no such service here' }
    return { code: 'OK', message: writeHealth((await unlessAborted(signal, health.failing())).length === 0) }
  } catch (error) {
    if (error instanceof StreamRefused) return { code: error.code, detail: error.message }
    if (signal.aborted) return { code: 'DEADLINE_EXCEEDED', detail: 'The time for this request is spent' }
    throw error
  } finally {
    clear()
  }
}

function read(message: Uint8Array): string {
  try {
    return readHealthRequest(message)
  } catch {
    throw new StreamRefused('INVALID_ARGUMENT', 'The message is not a grpc.health.v1.HealthCheckRequest')
  }
}
