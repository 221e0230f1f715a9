import { Agent, type Dispatcher } from 'undici'
import type { Operation } from '../contract/contract.ts'
import { DEADLINE_HEADER, type Deadline, unlessAborted } from '../contract/deadline.ts'
import type { Scope } from '../contract/scope.ts'
import { traceHeaders } from '../telemetry/tracing.ts'
import { authorityOf, type Target } from './addresses.ts'
import { MAX_ANSWER_BYTES } from './answers.ts'
import { discoverCallee, type Whereabouts } from './callee.ts'
import { connectInTime } from './connect.ts'
import type { Parts, Transport } from './transport.ts'

/** HTTP/1.1 to all addresses of a callee in turn, over connections that are kept. */
export function createHttp(whereabouts: Whereabouts): Transport {
  const { host, port, discovery } = discoverCallee(whereabouts)
  const { clientDuration } = whereabouts.metrics
  const agent = new Agent({
    // Told here, since an attempt may end before its connection fails.
    connect: (options, callback) =>
      connectInTime(options, (...[error, socket]) => {
        if (error && neverSent(error)) discovery.failed({ authority: authorityOf({ host: options.hostname, port: Number(options.port) }) })
        callback(...([error, socket] as Parameters<typeof callback>))
      }),
    connections: 32,
    pipelining: 1,
    keepAliveTimeout: 30_000,
    keepAliveMaxTimeout: 60_000,
  })

  const sendTo = async ({ authority }: Target, scope: Scope, { method }: Operation, { path, headers, body }: HttpRequest, deadline: Deadline) => {
    const answer = await agent.request({
      origin: `http://${authority}`,
      path,
      method,
      headers: {
        ...headers,
        host: `${host}:${port}`,
        [DEADLINE_HEADER]: String(Math.max(1, Math.floor(deadline.remainingMs()))),
        ...traceHeaders(scope.span),
      },
      body,
      signal: deadline.signal,
    })
    return { status: answer.statusCode, body: await readAnswer(answer) }
  }

  const send = async (scope: Scope, operation: Operation, request: HttpRequest, deadline: Deadline) => {
    let lastError: unknown
    for (const address of await unlessAborted(deadline.signal, discovery.addresses())) {
      try {
        const answer = await sendTo(address, scope, operation, request, deadline)
        discovery.reached(address)
        return answer
      } catch (error) {
        lastError = error
        if (!neverSent(error)) throw error
      }
    }
    throw lastError
  }

  return {
    prepare: (_name, operation, parts) => {
      const request = toRequest(operation, parts)
      const { method, path } = operation
      return {
        send: (scope, deadline) => send(scope, operation, request, deadline),
        spanName: `${method} ${path}`,
        attributes: {
          'http.request.method': method,
          'url.template': path,
          // Without the query, which the callee leaves out as well.
          'url.full': `http://${host}:${port}${request.path.split('?')[0]}`,
          'server.address': host,
          'server.port': port,
        },
        labels: { http_request_method: method, http_route: path },
      }
    },
    duration: clientDuration,
    outcome: ({ status }) => ({
      attributes: { 'http.response.status_code': status },
      labels: { http_response_status_code: status },
      errorType: status >= 500 ? String(status) : '',
    }),
    unanswered: { http_response_status_code: '' },
    close: () => {
      discovery.close()
      return agent.destroy()
    },
  }
}

export interface HttpRequest {
  path: string
  headers: Record<string, string>
  body: string | null
}

/** An operation's request from the parts that its contract names. */
export function toRequest(operation: Operation, options: Parts): HttpRequest {
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
