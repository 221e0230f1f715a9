import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { atMost, unlessAborted } from '../contract/deadline.ts'
import { GRPC_CONTENT_TYPE, OWN_AGENT, UNCOUNTED_MB } from '../grpc/frame.ts'
import type { Target } from './addresses.ts'
import { MAX_ANSWER_BYTES } from './answers.ts'
import { CONNECT_TIMEOUT_MS } from './connect.ts'
import { createTurns, type Turns } from './turns.ts'

/** A request that certainly had no effect: another address may take it, whatever it asks for. */
export class NeverProcessed extends Error {
  override name = 'NeverProcessed'
}

export interface StreamAnswer {
  headers: IncomingHttpHeaders & IncomingHttpStatusHeader
  trailers: IncomingHttpHeaders
  body: Buffer
}

export interface Sessions {
  /**
   * One request and its answer.
   * @throws NeverProcessed when nobody has begun it, the signal's reason when it aborts, Error when it may have been done
   */
  exchange(target: Target, headers: Record<string, string>, message: Buffer, signal: AbortSignal): Promise<StreamAnswer>
  close(): Promise<void>
}

/** Longest wait for the answer to a PING after a request has run out of time, in milliseconds. */
const PING_MS = 1_000

/**
 * Streams under way on one connection; further calls wait here. It is half of what our servers take, since Node's count a stream for a moment
 * after its reset, and refuse what comes in that moment.
 */
const MAX_STREAMS = 128

/** Time until a stream that was reset is none any more for its server, in milliseconds. */
const AFTER_RESET_MS = 50

const turnsBySession = new WeakMap<ClientHttp2Session, Turns>()

function turnsOf(session: ClientHttp2Session): Turns {
  const turns = turnsBySession.get(session) ?? createTurns(MAX_STREAMS)
  turnsBySession.set(session, turns)
  return turns
}

/**
 * One HTTP/2 connection for each address, made when it is first needed and left when the peer goes away.
 * @param authority the callee's name, as every request has it
 * @param failed told of an address that takes no connection
 */
export function createSessions(authority: string, failed: (target: Target) => void): Sessions {
  const open = new Map<string, Promise<ClientHttp2Session>>()

  const sessionTo = (target: Target): Promise<ClientHttp2Session> => {
    const key = target.authority
    const known = open.get(key)
    if (known) return known
    const leave = () => {
      if (open.get(key) === opening) open.delete(key)
    }
    const opening = openSession(target, leave)
    opening.catch(() => {
      leave()
      failed(target)
    })
    open.set(key, opening)
    return opening
  }

  return {
    exchange: async (target, headers, message, signal) => {
      const connected = sessionTo(target).catch(error => {
        throw new NeverProcessed(`no connection to ${target.authority}`, { cause: error })
      })
      const session = await unlessAborted(signal, connected)
      const turns = turnsOf(session)
      await turns.take(signal)
      try {
        return await exchange(session, { ...headers, ':authority': authority }, message, signal)
      } finally {
        if (signal.aborted) setTimeout(turns.give, AFTER_RESET_MS).unref()
        else turns.give()
      }
    },
    close: async () => {
      for (const opening of open.values()) opening.then(session => session.destroy()).catch(() => {})
      open.clear()
    },
  }
}

/** @param leave called as soon as the connection takes no new requests */
function openSession({ host, port, authority }: Target, leave: () => void): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = connect(`http://${authority}`, {
      createConnection: () => connectTcp({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }),
      settings: { enablePush: false },
      maxSessionMemory: UNCOUNTED_MB,
    })
    const timer = setTimeout(() => session.destroy(new Error(`no connection in ${CONNECT_TIMEOUT_MS} ms`)), CONNECT_TIMEOUT_MS)
    session.once('connect', () => {
      clearTimeout(timer)
      resolve(session)
    })
    // Requests under way end by themselves; without a listener an error would end the process.
    session.on('error', error => {
      clearTimeout(timer)
      leave()
      reject(error)
    })
    session.once('goaway', leave)
    session.once('close', () => {
      clearTimeout(timer)
      leave()
      reject(new Error('the connection closed'))
    })
  })
}

function exchange(session: ClientHttp2Session, headers: Record<string, string>, message: Buffer, signal: AbortSignal): Promise<StreamAnswer> {
  return new Promise((resolve, reject) => {
    // Its turn may have come in the moment in which it ended.
    if (signal.aborted) return reject(signal.reason)
    let stream: ClientHttp2Stream
    try {
      stream = session.request({
        ':method': 'POST',
        'content-type': GRPC_CONTENT_TYPE,
        te: 'trailers',
        'user-agent': OWN_AGENT,
        ...headers,
      })
    } catch (error) {
      // ERR_HTTP2_GOAWAY_SESSION, ERR_HTTP2_INVALID_SESSION: the connection has just been left.
      reject(new NeverProcessed('the connection takes no more requests', { cause: error }))
      return
    }
    const answer: Partial<StreamAnswer> = {}
    const chunks: Buffer[] = []
    let size = 0
    let failure: Error | undefined
    const onAbort = () => {
      failure ??= signal.reason
      stream.close(constants.NGHTTP2_CANCEL)
      void endDeadSession(session)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    stream.on('response', came => {
      answer.headers = came
    })
    stream.on('trailers', came => {
      answer.trailers = came
    })
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= MAX_ANSWER_BYTES) chunks.push(chunk)
      else {
        failure ??= new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`)
        stream.close(constants.NGHTTP2_CANCEL)
      }
    })
    stream.on('error', error => {
      failure ??= (error as NodeJS.ErrnoException).code === 'ERR_HTTP2_GOAWAY_SESSION' ? new NeverProcessed(error.message, { cause: error }) : error
    })
    stream.once('close', () => {
      signal.removeEventListener('abort', onAbort)
      // With its connection every stream gets the code of that, whether it was begun or not.
      const ofStream = (failure as NodeJS.ErrnoException | undefined)?.code !== 'ERR_HTTP2_SESSION_ERROR'
      if (!answer.headers && ofStream && NOT_BEGUN.has(stream.rstCode) && !signal.aborted) reject(new NeverProcessed('the stream was refused'))
      else if (failure) reject(failure)
      else if (!answer.headers) reject(new Error(`the stream ended without an answer, code ${stream.rstCode}`))
      else resolve({ headers: answer.headers, trailers: answer.trailers ?? {}, body: Buffer.concat(chunks) })
    })
    stream.end(message)
  })
}

/** RFC 9113 section 8.7; and what Node's and our server answer to a head that is too large, or to a stream for which there is no room. */
const NOT_BEGUN = new Set([constants.NGHTTP2_REFUSED_STREAM, constants.NGHTTP2_ENHANCE_YOUR_CALM])

/** A host that is gone without a word leaves a connection that looks alive: who ran out of time asks whether anybody is there. */
async function endDeadSession(session: ClientHttp2Session): Promise<void> {
  if (session.destroyed || pinged.has(session)) return
  pinged.add(session)
  const answered = new Promise<boolean>(resolve => session.ping(error => resolve(!error)))
  if (!(await atMost(PING_MS, answered))) session.destroy()
  pinged.delete(session)
}

const pinged = new WeakSet<ClientHttp2Session>()
