import type { Http2ServerResponse } from 'node:http2'
import type { Middleware } from 'koa'
import { createDeadline, unlessAborted } from '../../contract/deadline.ts'
import { WELL_KNOWN } from '../../grpc/descriptors.ts'
import { ERROR_FILES } from '../../grpc/error-details.ts'
import { frame, HEAD } from '../../grpc/frame.ts'
import { HEALTH_FILE } from '../../grpc/health.ts'
import type { Rpc } from '../../grpc/operations.ts'
import { createReflection } from '../../grpc/reflection.ts'
import { REFLECTION_FILES, REFLECTION_SERVICES } from '../../grpc/reflection-files.ts'
import { createPlaces, type PlaceLimits } from '../places.ts'
import { callOf, type Reply } from './call.ts'
import { readMessages, StreamRefused } from './messages.ts'

export interface ReflectionLimits {
  /** Streams at once. @default 32, 8 of one source */
  streams?: PlaceLimits
  /** Longest life of a stream, in milliseconds. @default 10000 */
  timeoutMs?: number
}

const BOUNDS = { maxBytes: 4_096, maxMessages: 100 }

/** Tells what methods and messages there are, as /openapi.json does by HTTP. It takes no token, and is no operation of the contract. */
export function reflection({ schema }: Rpc, { streams = { total: 32, perSource: 8 }, timeoutMs = 10_000 }: ReflectionLimits = {}): Middleware {
  const reflect = createReflection([schema.file, HEALTH_FILE, ...REFLECTION_FILES, ...ERROR_FILES, ...WELL_KNOWN.map(({ proto }) => proto)])
  const byPath = new Map(REFLECTION_SERVICES.map(service => [`/${service}/ServerReflectionInfo`, reflect(service)]))
  const places = createPlaces(streams)
  return async (ctx, next) => {
    const answer = byPath.get(ctx.req.url ?? '')
    if (!answer) return next()
    const source: string = ctx.state.address()
    if (places.take(source)) {
      callOf(ctx).reply = { code: 'RESOURCE_EXHAUSTED', detail: 'Too many streams of this kind are open' }
      return
    }
    const res = ctx.res as unknown as Http2ServerResponse
    const { signal, clear } = createDeadline(timeoutMs)
    callOf(ctx).reply = { code: 'OK' }
    try {
      res.writeHead(200, HEAD)
      for await (const message of readMessages(ctx.req, BOUNDS, signal)) {
        const taken = res.write(frame(read(answer, message)))
        // Whoever does not read its answers asks no more questions.
        if (!taken) await unlessAborted(signal, new Promise(resolve => res.stream.once('drain', resolve).once('close', resolve)))
      }
    } catch (error) {
      callOf(ctx).reply = replyOf(error, signal)
    } finally {
      clear()
      places.give(source)
    }
  }
}

function replyOf(error: unknown, { aborted }: AbortSignal): Reply {
  if (error instanceof StreamRefused) return { code: error.code, detail: error.message }
  if (aborted) return { code: 'DEADLINE_EXCEEDED', detail: 'The time for this stream is spent' }
  throw error
}

function read(answer: (request: Uint8Array) => Uint8Array, message: Uint8Array): Uint8Array {
  try {
    return answer(message)
  } catch {
    throw new StreamRefused('INVALID_ARGUMENT', 'The message is not a ServerReflectionRequest')
  }
}
