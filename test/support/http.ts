import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type Koa from 'koa'
import { expect } from 'vitest'
import type { Contract } from '../../services/chassis/contract/contract.ts'
import { problemCodes } from '../../services/chassis/contract/openapi.ts'
import { createRouter } from '../../services/chassis/server/router.ts'

export interface Reply {
  status: number
  headers: Headers
  type: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every shape
  body: any
}

export interface Ask {
  token?: string
  headers?: Record<string, string>
  /** Sent as JSON. */
  json?: unknown
  /** Sent as it is. */
  raw?: string | Uint8Array<ArrayBuffer>
}

export type Http = (method: string, path: string, ask?: Ask) => Promise<Reply>

/**
 * Speaks to a service and holds every answer to its contract: the status and the problem's code must be declared, the body must
 * have the declared shape.
 */
export function httpTo(baseUrl: string, contract?: Contract): Http {
  const match = contract && createRouter(contract)
  return async (method, path, { token, headers = {}, json, raw } = {}) => {
    const body = json === undefined ? raw : JSON.stringify(json)
    const response = await fetch(baseUrl + path, {
      method,
      redirect: 'manual',
      signal: AbortSignal.timeout(20_000),
      headers: { ...(json !== undefined && { 'content-type': 'application/json' }), ...(token && { authorization: `Bearer ${token}` }), ...headers },
      ...(body !== undefined && { body }),
    })
    const text = await response.text()
    const type = response.headers.get('content-type') ?? ''
    const reply = { status: response.status, headers: response.headers, type, body: /json/.test(type) && text !== '' ? JSON.parse(text) : text }
    const operation = match?.(method, path.split('?', 1)[0] as string).operation
    if (operation) expectDeclared(reply, operation)
    return reply
  }
}

function expectDeclared({ status, type, body }: Reply, operation: Contract[string]): void {
  const declared = operation.responses[status]
  if (declared) {
    if (declared.body && body !== '')
      expect(declared.body.safeParse(body).error, `body of ${operation.method} ${operation.path} ${status}`).toBeUndefined()
    return
  }
  expect(type, `${operation.method} ${operation.path} ${status}`).toBe('application/problem+json')
  expect(problemCodes(operation)[status] ?? [], `codes of ${operation.method} ${operation.path} ${status}`).toContain(body.code)
  expect(body.status).toBe(status)
}

/** Asserts a problem document. */
export function expectProblem(reply: Reply, status: number, code: string): void {
  expect({ status: reply.status, type: reply.type, code: reply.body.code }).toEqual({ status, type: 'application/problem+json', code })
}

export interface Listening {
  url: string
  port: number
  server: Server
  close(): Promise<void>
}

/** A Koa app on a free port of 127.0.0.1. */
export async function listen(app: Koa | Parameters<typeof createServer>[1]): Promise<Listening> {
  const server = createServer(typeof app === 'function' ? app : (app as Koa).callback())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    server,
    close: async () => {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
