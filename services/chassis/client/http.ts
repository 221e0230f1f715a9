import { Agent, type Dispatcher } from 'undici'
import type { Operation } from '../contract/contract.ts'
import { DEADLINE_HEADER, type Deadline, unlessAborted } from '../contract/deadline.ts'
import { podsHost, type ServiceDefinition } from '../contract/graph.ts'
import type { Scope } from '../contract/scope.ts'
import { traceHeaders } from '../telemetry/tracing.ts'
import type { RawAnswer } from './answers.ts'
import { connectInTime } from './connect.ts'
import { createDiscovery, type Lookup } from './discovery.ts'

export interface HttpOptions {
  callee: ServiceDefinition
  /** `host` or `host:port` @default the callee's headless Service and port */
  host?: string
  lookup?: Lookup
}

export interface Http {
  /** Name and port of the callee, as spans have them. */
  readonly address: { host: string; port: number }
  /** One exchange: the first address that takes the connection gets the request. */
  send(scope: Scope, operation: Operation, request: HttpRequest, deadline: Deadline): Promise<RawAnswer>
  close(): Promise<void>
}

/** HTTP/1.1 to all addresses of a callee in turn, over connections that are kept. */
export function createHttp({ callee, host = podsHost(callee), lookup }: HttpOptions): Http {
  const url = new URL(`http://${host}`)
  const port = Number(url.port || callee.port)
  const authority = `${url.hostname}:${port}`
  const discovery = createDiscovery({ host: url.hostname, ...(lookup && { lookup }) })
  const agent = new Agent({
    connect: connectInTime,
    connections: 32,
    pipelining: 1,
    keepAliveTimeout: 30_000,
    keepAliveMaxTimeout: 60_000,
  })

  const sendTo = async (address: string, scope: Scope, { method }: Operation, { path, headers, body }: HttpRequest, deadline: Deadline) => {
    const answer = await agent.request({
      origin: `http://${address.includes(':') ? `[${address}]` : address}:${port}`,
      path,
      method,
      headers: {
        ...headers,
        host: authority,
        [DEADLINE_HEADER]: String(Math.max(1, Math.floor(deadline.remainingMs()))),
        ...traceHeaders(scope.span),
      },
      body,
      signal: deadline.signal,
    })
    return { status: answer.statusCode, body: await readAnswer(answer) }
  }

  return {
    address: { host: url.hostname, port },
    send: async (scope, operation, request, deadline) => {
      let lastError: unknown
      for (const address of await unlessAborted(deadline.signal, discovery.addresses())) {
        try {
          return await sendTo(address, scope, operation, request, deadline)
        } catch (error) {
          lastError = error
          if (!neverSent(error)) throw error
        }
      }
      throw lastError
    },
    close: () => agent.destroy(),
  }
}

export interface HttpRequest {
  path: string
  headers: Record<string, string>
  body: string | null
}

/** An operation's request from the parts that its contract names. */
export function toRequest(
  operation: Operation,
  options: { params?: unknown; query?: unknown; headers?: unknown; body?: unknown; token?: string },
): HttpRequest {
  const params = (options.params ?? {}) as Record<string, string>
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(params[name] ?? ''))
  const query = new URLSearchParams((options.query ?? {}) as Record<string, string>).toString()
  const hasBody = options.body !== undefined
  return {
    path: query ? `${path}?${query}` : path,
    headers: {
      ...((options.headers ?? {}) as Record<string, string>),
      ...(hasBody && { 'content-type': 'application/json' }),
      ...(options.token && { authorization: `Bearer ${options.token}` }),
    },
    body: hasBody ? JSON.stringify(options.body) : null,
  }
}

/** Bodies between services are small; a larger one is a defect. */
const MAX_ANSWER_BYTES = 1_048_576

async function readAnswer(answer: Dispatcher.ResponseData): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer.body) {
    size += chunk.length
    if (size > MAX_ANSWER_BYTES) throw new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  const text = Buffer.concat(chunks).toString()
  const isJson = /^application\/(problem\+)?json\b/.test(String(answer.headers['content-type'] ?? ''))
  return isJson && text !== '' ? JSON.parse(text) : undefined
}

const NEVER_SENT = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'])

/** A connection that was never made: the request certainly had no effect, and another address may take it. */
const neverSent = (error: unknown) => NEVER_SENT.has((error as { code?: string }).code ?? '')
