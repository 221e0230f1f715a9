import { CallError } from '../contract/call-error.ts'
import type { Operation } from '../contract/contract.ts'
import { type Deadline, unlessAborted } from '../contract/deadline.ts'
import type { Scope } from '../contract/scope.ts'
import { readDetails } from '../grpc/error-details.ts'
import { frame, isGrpc, unframe } from '../grpc/frame.ts'
import { codeOf } from '../grpc/names.ts'
import { type RpcMethod, rpcOf } from '../grpc/operations.ts'
import { codeName, isServerError, STATUS_OF_CODE } from '../grpc/status.ts'
import { formatTimeout, TIMEOUT_HEADER } from '../grpc/timeout.ts'
import { traceHeaders } from '../telemetry/tracing.ts'
import type { RawAnswer } from './answers.ts'
import { discoverCallee, type Whereabouts } from './callee.ts'
import { createSessions, NeverProcessed, type StreamAnswer } from './sessions.ts'
import type { Transport } from './transport.ts'

/** The callee answers a little before its caller gives up, which would cost it a reset: this share of the time, at least this long. */
const ANSWER_SHARE = 0.05
const ANSWER_MS = 5

/** gRPC to all addresses of a callee in turn, over one connection for each. */
export function createGrpc(whereabouts: Whereabouts): Transport {
  const { callee, metrics } = whereabouts
  const byOperation = new Map(rpcOf(callee).methods.map(method => [method.operationId, method]))
  const { host, port, discovery } = discoverCallee(whereabouts)
  const sessions = createSessions(`${host}:${port}`, discovery.failed)

  const send = async (scope: Scope, method: RpcMethod, operation: Operation, message: Buffer, token: string | undefined, deadline: Deadline) => {
    let lastError: unknown
    for (const target of await unlessAborted(deadline.signal, discovery.addresses())) {
      try {
        const leftMs = deadline.remainingMs()
        const headers = {
          ':path': `/${method.name}`,
          [TIMEOUT_HEADER]: formatTimeout(leftMs - Math.max(ANSWER_MS, leftMs * ANSWER_SHARE)),
          ...traceHeaders(scope.span),
          ...(token && { authorization: `Bearer ${token}` }),
        }
        const answer = await sessions.exchange(target, headers, message, deadline.signal)
        discovery.reached(target)
        return read(answer, method, operation, callee.name)
      } catch (error) {
        lastError = error
        // Whatever the operation is: nobody has begun it.
        if (!(error instanceof NeverProcessed)) throw error
      }
    }
    throw lastError
  }

  return {
    prepare: (name, operation, { params, query, body, token }) => {
      const method = byOperation.get(name)
      if (!method) throw new CallError('unreachable', `${callee.name} serves ${name} by HTTP alone`)
      const message = frame(method.writeRequest({ params, query, body }))
      return {
        send: (scope, deadline) => send(scope, method, operation, message, token, deadline),
        spanName: method.name,
        attributes: { 'rpc.system.name': 'grpc', 'rpc.method': method.name, 'server.address': host, 'server.port': port },
        labels: { rpc_system_name: 'grpc', rpc_method: method.name },
      }
    },
    duration: metrics.rpc().clientDuration,
    outcome: ({ code = 'UNKNOWN' }) => ({
      attributes: { 'rpc.response.status_code': code },
      labels: { rpc_response_status_code: code },
      errorType: isServerError(code as never) || code === 'UNIMPLEMENTED' ? code : '',
    }),
    unanswered: { rpc_response_status_code: '' },
    close: () => {
      discovery.close()
      return sessions.close()
    },
  }
}

/** What came over the wire, as the contract has it. @throws Error for what is not gRPC */
function read({ headers, trailers, body }: StreamAnswer, method: RpcMethod, operation: Operation, callee: string): RawAnswer {
  const status = trailers['grpc-status'] ?? headers['grpc-status']
  if (headers[':status'] !== 200 || !isGrpc(headers['content-type']) || status === undefined)
    throw new Error(`this is no answer of gRPC: HTTP ${headers[':status']}, ${headers['content-type'] ?? 'no content-type'}, grpc-status ${status}`)
  const code = codeName(Number(status))
  if (code === 'OK') {
    const framed = unframe(body)
    if ('problem' in framed) throw new Error(`the answer is ${framed.problem}`)
    return { ...method.readAnswer(framed.message), code }
  }
  const source = trailers['grpc-status'] === undefined ? headers : trailers
  const details = readDetails(source['grpc-status-details-bin'] as string | undefined)
  // Of a proxy, or of somebody else's server: a failure, whatever it says.
  if (details?.domain !== callee) return { status: isServerError(code) ? STATUS_OF_CODE[code] : 502, body: undefined, code }
  const { status: told, ...metadata } = details.metadata
  return {
    status: declaredStatus(operation, codeOf(details.reason)) ?? statusIn(told) ?? STATUS_OF_CODE[code],
    body: {
      code: codeOf(details.reason),
      detail: decodeMessage(source['grpc-message'] as string | undefined),
      ...metadata,
      ...(details.fields && { errors: details.fields }),
    },
    code,
  }
}

/** The contract's own status for a code: it knows better than a version of the callee that may be another. */
function declaredStatus({ problems = {} }: Operation, code: string): number | undefined {
  const [status] = Object.entries(problems).find(([, codes]) => codes.includes(code)) ?? []
  return status === undefined ? undefined : Number(status)
}

const statusIn = (text: string | undefined) => (text !== undefined && /^[45]\d\d$/.test(text) ? Number(text) : undefined)

function decodeMessage(text = ''): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
