import { describe, expect, test, vi } from 'vitest'
import { defineContract } from '../../../../services/chassis/contract/contract.ts'
import { frame } from '../../../../services/chassis/grpc/frame.ts'
import { CODES } from '../../../../services/chassis/grpc/status.ts'
import { createHealth } from '../../../../services/chassis/server/health.ts'
import { startPair } from '../../../support/protocols.ts'
import { openRpc } from '../../../support/raw-h2.ts'

const contract = defineContract({
  ping: { method: 'GET', path: '/ping', summary: 'Ping', auth: 'none', responses: { 204: { description: 'Pong' } } },
})

const named = (service: string) => Buffer.from([0x0a, service.length, ...Buffer.from(service)])
const [SERVING, NOT_SERVING] = ['0801', '0802']
const CHECK = '/grpc.health.v1.Health/Check'

async function start(health = createHealth({}, 0)) {
  const { port, callee } = await startPair('grpc', contract, { ping: () => ({ status: 204 }) }, { health })
  return { ...openRpc(port), callee }
}

describe(`${CHECK}`, () => {
  test('follows readiness, without a token, for the process and for its service', async () => {
    let up = true
    const { ask } = await start(createHealth({ database: async () => void (up || (await Promise.reject(new Error('down')))) }, 0))
    for (const service of ['', 'callee.v1.CalleeService']) {
      const reply = await ask(CHECK, { body: frame(service ? named(service) : Buffer.alloc(0)) })
      expect({ status: reply.status, body: reply.body.subarray(5).toString('hex') }).toEqual({ status: CODES.OK, body: SERVING })
    }
    up = false
    await vi.waitFor(async () => expect((await ask(CHECK, { body: frame(Buffer.alloc(0)) })).body.subarray(5).toString('hex')).toBe(NOT_SERVING))
  })

  test('is NOT_SERVING once the process drains', async () => {
    const health = createHealth({})
    const { ask } = await start(health)
    health.drain()
    expect((await ask(CHECK, { body: frame(Buffer.alloc(0)) })).body.subarray(5).toString('hex')).toBe(NOT_SERVING)
  })

  test('is NOT_FOUND for a service that is not here', async () => {
    const { ask } = await start()
    expect(await ask(CHECK, { body: frame(named('other.v1.Other')) })).toMatchObject({ status: CODES.NOT_FOUND })
  })

  test.each([
    ['no message', Buffer.alloc(0), 'INVALID_ARGUMENT'],
    ['half a message', frame(named('x')).subarray(0, 6), 'INVALID_ARGUMENT'],
    ['what is no message', frame(Buffer.from([0x0a, 0xff])), 'INVALID_ARGUMENT'],
    ['two messages', Buffer.concat([frame(named('')), frame(named(''))]), 'RESOURCE_EXHAUSTED'],
    ['a message that is too long', frame(Buffer.alloc(1_025)), 'RESOURCE_EXHAUSTED'],
    ['a compressed one', Buffer.from([1, 0, 0, 0, 0]), 'UNIMPLEMENTED'],
  ] as const)('answers %s with its status', async (_, body, code) => {
    const { ask } = await start()
    expect(await ask(CHECK, { body })).toMatchObject({ http: 200, status: CODES[code] })
  })

  test('ends with DEADLINE_EXCEEDED when the request does not come', async () => {
    const { ask } = await start()
    expect(await ask(CHECK, { body: Buffer.from([0]), open: true })).toMatchObject({ status: CODES.DEADLINE_EXCEEDED })
  })

  test('counts in no metric of calls, and writes no line to the log', async () => {
    const { ask, callee } = await start()
    await ask(CHECK, { body: frame(Buffer.alloc(0)) })
    expect((await callee.runtime.metrics.expose(undefined)).text).not.toContain('rpc_server_call_duration_seconds_count{')
    expect(callee.runtime.lines).toEqual([])
  })
})

test('/grpc.health.v1.Health/Watch is UNIMPLEMENTED', async () => {
  const { ask } = await start()
  expect(await ask('/grpc.health.v1.Health/Watch', { body: frame(Buffer.alloc(0)) })).toMatchObject({ status: CODES.UNIMPLEMENTED })
})
