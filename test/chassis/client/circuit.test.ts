import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createCircuit } from '../../../services/chassis/client/circuit.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

const STATE = 'http_client_circuit_state{peer_service="user"}'

let runtime: TestRuntime
beforeEach(() => {
  runtime = testRuntime()
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] })
})
afterEach(() => vi.useRealTimers())

const circuitOf = () => createCircuit(runtime.metrics, 'user', { windowMs: 1_000, halfOpenAfterMs: 500 })
const answer = (status: number) => () => Promise.resolve({ status, body: undefined })
const repeat = async (times: number, work: () => Promise<unknown>) => {
  for (let i = 0; i < times; i++) await work().catch(() => {})
}

describe('createCircuit', () => {
  test('stays closed for answers below 500', async () => {
    const circuit = circuitOf()
    await repeat(50, () => circuit.execute(answer(422)))
    expect(await runtime.metric(STATE)).toBe(0)
  })

  test.each([
    ['answers from 500 on', answer(503)],
    ['errors', () => Promise.reject(new Error('refused'))],
  ])('opens after many %s and then lets nothing through', async (_, fail) => {
    const circuit = circuitOf()
    await repeat(50, () => circuit.execute(fail))
    expect(await runtime.metric(STATE)).toBe(2)
    const work = vi.fn(answer(200))
    await expect(circuit.execute(work)).rejects.toThrow()
    expect(work).not.toHaveBeenCalled()
  })

  test('stays closed while the callee is overloaded', async () => {
    const circuit = circuitOf()
    await repeat(50, () => circuit.execute(() => Promise.resolve({ status: 503, body: { code: 'overloaded' } })))
    expect(await runtime.metric(STATE)).toBe(0)
  })

  test('stays closed while fewer than 80 % fail', async () => {
    const circuit = circuitOf()
    for (let i = 0; i < 50; i++) {
      await repeat(1, () => circuit.execute(answer(200)))
      await repeat(2, () => circuit.execute(answer(503)))
    }
    expect(await runtime.metric(STATE)).toBe(0)
  })

  test('lets one attempt through after a while, and closes when it succeeds', async () => {
    const circuit = circuitOf()
    await repeat(50, () => circuit.execute(answer(503)))
    vi.advanceTimersByTime(501)
    await circuit.execute(answer(200))
    expect(await runtime.metric(STATE)).toBe(0)
  })

  test('opens again when that attempt fails', async () => {
    const circuit = circuitOf()
    await repeat(50, () => circuit.execute(answer(503)))
    vi.advanceTimersByTime(501)
    await repeat(1, () => circuit.execute(answer(503)))
    expect(await runtime.metric(STATE)).toBe(2)
  })
})
