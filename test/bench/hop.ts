// One end of a call, a process of its own: `callee KIND` says its port and answers until it is stopped, `caller KIND PORT` makes the calls that
// its parent asks for. Ours have what every service has: pipeline, identity, deadlines, spans, metrics, logs.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { defineContract, defineService, id, newId, strict } from '@fairlead/chassis'
import { modelOf, rpcOf } from '@fairlead/chassis/grpc'
import { Agent } from 'undici'
import { z } from 'zod'
import { assignNumbers } from '../../infra/kit/proto/numbers.ts'
import { createClient } from '../../services/chassis/client/client.ts'
import { createDeadline } from '../../services/chassis/contract/deadline.ts'
import { listenGrpc } from '../../services/chassis/server/grpc/listen.ts'
import { createGrpcApp } from '../../services/chassis/server/grpc/pipeline.ts'
import { createHealth } from '../../services/chassis/server/health.ts'
import { createApp } from '../../services/chassis/server/pipeline.ts'
import { shed } from '../../services/chassis/server/shed.ts'
import { createLog } from '../../services/chassis/telemetry/log.ts'
import { createMetrics } from '../../services/chassis/telemetry/metrics.ts'
import { createTracing } from '../../services/chassis/telemetry/tracing.ts'
import { money } from '../../services/money.ts'

/** What everybody can have, or ours over the same transport. */
export type Hop = 'undici, bare' | 'HTTP edge' | 'grpc-js, bare' | 'gRPC edge'

/** What a caller is asked for. */
export interface Calls {
  count: number
  atOnce: number
}

/** What it tells, in milliseconds and microseconds. */
export interface Called {
  p50Ms: number
  cpuMicros: number
}

type Message = { id: string; userId: string; total: { amount: number; currency: 'EUR' } }

const reservation = { id, userId: id, total: money }
const { id: _, ...inBody } = reservation
const plain = {
  timeoutMs: 2_000,
  maxConcurrency: 512,
  slo: { availability: 0.999, latency: { thresholdMs: 100, objective: 0.99 } },
  scale: { min: 1, max: 1 },
} as const
const contract = defineContract({
  reserve: {
    method: 'PUT',
    path: '/reservations/{id}',
    summary: 'Reserve',
    auth: 'workload',
    params: z.object({ id }),
    body: strict(inBody),
    responses: { 200: { description: 'Reserved', body: strict(reservation) } },
  },
})
const definition = { ...plain, name: 'callee' as const, port: 8_080, contract }
const callee = defineService({ ...definition, grpc: { port: 8_090, numbers: assignNumbers(modelOf(definition)).numbers } })
const edge = (protocol: 'http' | 'grpc') =>
  defineService({ ...plain, name: 'caller', port: 8_081, contract: {}, calls: [{ to: callee, mode: 'required', attemptTimeoutMs: 1_000, protocol }] })

const runtimeOf = (service: string) => {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = process.env
  return { log: createLog({ service }), metrics: createMetrics(), tracer: createTracing({ service, ...(endpoint && { endpoint }) }).tracer }
}

/** grpc-js gets the same messages in the same encoding. */
const codec = () => {
  const [method] = rpcOf(callee).methods
  if (!method) throw new Error('the contract has no method')
  const split = ({ id, ...body }: Message) => ({ params: { id }, body })
  return {
    request: {
      write: (message: Message) => Buffer.from(method.writeRequest(split(message))),
      read: (bytes: Buffer) => {
        const { params, body } = method.readRequest(bytes).parts
        return { ...(params as object), ...(body as object) }
      },
    },
    answer: {
      write: (body: Message) => Buffer.from(method.writeAnswer({ status: 200, body })),
      read: (bytes: Buffer) => method.readAnswer(bytes).body,
    },
  }
}

async function listen(kind: Hop): Promise<number> {
  if (kind === 'grpc-js, bare') return (await import('./peers/grpc-bare.mjs')).listenGrpcJs(codec(), message => message)
  if (kind === 'undici, bare') {
    const server = createServer(async (req, res) => {
      const body = JSON.parse(await text(req))
      res.setHeader('content-type', 'application/json').end(JSON.stringify({ id: req.url?.slice('/reservations/'.length), ...body }))
    })
    return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)))
  }
  const runtime = runtimeOf('callee')
  const options = {
    service: callee,
    handlers: {
      reserve: ({ params, body }: { params: { id: string }; body: Omit<Message, 'id'> }) => ({ status: 200 as const, body: { ...params, ...body } }),
    },
    verifiers: { workload: async () => ({ kind: 'workload' as const, id: 'caller' }) },
    health: createHealth({}),
    trustedHops: 0,
    shed: shed({ maxConcurrency: plain.maxConcurrency }, runtime.metrics),
  }
  if (kind === 'gRPC edge')
    return (await listenGrpc({ ...runtime, handler: createGrpcApp(runtime, options).callback(), port: 0, host: '127.0.0.1' })).port
  const server = createServer(createApp(runtime, options).callback())
  return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)))
}

async function caller(kind: Hop, port: number): Promise<(message: Message) => Promise<unknown>> {
  if (kind === 'grpc-js, bare') return (await import('./peers/grpc-bare.mjs')).callGrpcJs(codec(), port)
  if (kind === 'undici, bare') {
    const agent = new Agent({ connections: 32 })
    return async ({ id, ...body }) => {
      const answer = await agent.request({
        origin: `http://127.0.0.1:${port}`,
        path: `/reservations/${id}`,
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      return answer.body.json()
    }
  }
  const runtime = runtimeOf('caller')
  const client = createClient(edge(kind === 'HTTP edge' ? 'http' : 'grpc'), 'callee', {
    ...runtime,
    host: `127.0.0.1:${port}`,
    workloadToken: () => 'token',
  })
  return async ({ id, ...body }) => {
    const span = runtime.tracer.startSpan('bench')
    const deadline = createDeadline(2_000)
    try {
      const answer = await client.call({ deadline, span, log: runtime.log }, 'reserve', { params: { id }, body })
      return 'body' in answer ? answer.body : answer
    } finally {
      deadline.clear()
      span.end()
    }
  }
}

/** @throws Error for a call that does not bring back what it sent */
async function makeCalls(call: (message: Message) => Promise<unknown>, { count, atOnce }: Calls): Promise<Called> {
  const times: number[] = []
  const before = process.cpuUsage()
  let left = count
  const one = async () => {
    while (left-- > 0) {
      const message: Message = { id: newId(), userId: newId(), total: { amount: 12_900, currency: 'EUR' } }
      const startedAt = performance.now()
      const answer = (await call(message)) as Message
      times.push(performance.now() - startedAt)
      if (answer.id !== message.id || answer.total?.amount !== 12_900) throw new Error(`${JSON.stringify(message)} brought ${JSON.stringify(answer)}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, one))
  const { user, system } = process.cpuUsage(before)
  times.sort((a, b) => a - b)
  return { p50Ms: times[times.length >> 1] ?? Number.NaN, cpuMicros: (user + system) / count }
}

const [, , role, kind, port] = process.argv
if (role === 'callee') {
  let before = process.cpuUsage()
  // Whoever asks gets the processor time since it asked before, in microseconds.
  process.on('message', () => {
    const { user, system } = process.cpuUsage(before)
    before = process.cpuUsage()
    process.send?.(user + system)
  })
  process.send?.(await listen(kind as Hop))
} else if (role === 'caller') {
  const call = await caller(kind as Hop, Number(port))
  process.on('message', async (calls: Calls) => {
    process.send?.(await makeCalls(call, calls).catch((error: Error) => ({ error: error.message })))
  })
  process.send?.('ready')
}
