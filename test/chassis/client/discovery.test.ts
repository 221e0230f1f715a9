import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDiscovery, lookupAll } from '../../../services/chassis/client/discovery.ts'

const A = '10.0.0.1'
const B = '10.0.0.2'
const C = '10.0.0.3'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Lets what was asked in the background arrive. */
const settle = () => vi.advanceTimersByTimeAsync(0)

describe('discovery.addresses', () => {
  test('gives all addresses, each time from the next one on', async () => {
    const discovery = createDiscovery({ host: 'callee', lookup: async () => [B, C, A] })
    expect([await discovery.addresses(), await discovery.addresses(), await discovery.addresses(), await discovery.addresses()]).toEqual([
      [A, B, C],
      [B, C, A],
      [C, A, B],
      [A, B, C],
    ])
  })

  test('asks once for all who wait at the start', async () => {
    const lookup = vi.fn(async () => [A])
    const discovery = createDiscovery({ host: 'callee', lookup })
    expect(await Promise.all([discovery.addresses(), discovery.addresses(), discovery.addresses()])).toEqual([[A], [A], [A]])
    expect(lookup.mock.calls).toEqual([['callee']])
  })

  test('asks again when the answer is no longer fresh, and answers from the old one meanwhile', async () => {
    const lookup = vi.fn(async () => [A])
    const discovery = createDiscovery({ host: 'callee', lookup, freshMs: 2_000 })
    await discovery.addresses()
    await vi.advanceTimersByTimeAsync(2_000)
    await discovery.addresses()
    expect(lookup).toHaveBeenCalledTimes(1)
    lookup.mockResolvedValue([B])
    await vi.advanceTimersByTimeAsync(1)
    expect(await discovery.addresses()).toEqual([A])
    expect(lookup).toHaveBeenCalledTimes(2)
    await settle()
    expect(await discovery.addresses()).toEqual([B])
    expect(lookup).toHaveBeenCalledTimes(2)
  })

  test.each([
    ['fails', () => Promise.reject(new Error('EAI_AGAIN'))],
    ['names nobody', async () => []],
    ['hangs', () => new Promise<string[]>(() => {})],
  ])('keeps the last addresses while DNS %s, and takes the new ones when it is back', async (_name, broken) => {
    const lookup = vi.fn<() => Promise<string[]>>(async () => [A, B])
    const discovery = createDiscovery({ host: 'callee', lookup, freshMs: 100, timeoutMs: 1_000 })
    await discovery.addresses()
    lookup.mockImplementation(broken)
    for (let round = 0; round < 5; round++) {
      await vi.advanceTimersByTimeAsync(1_001)
      expect((await discovery.addresses()).toSorted()).toEqual([A, B])
    }
    expect(lookup.mock.calls.length).toBeGreaterThan(4)
    await vi.advanceTimersByTimeAsync(1_001)
    lookup.mockResolvedValue([C])
    await discovery.addresses()
    await settle()
    expect(await discovery.addresses()).toEqual([C])
  })

  test('rejects while nothing is known, and asks again with the next call', async () => {
    const lookup = vi.fn<() => Promise<string[]>>(() => Promise.reject(new Error('ENOTFOUND')))
    const discovery = createDiscovery({ host: 'callee', lookup })
    await expect(discovery.addresses()).rejects.toThrow('ENOTFOUND')
    lookup.mockResolvedValue([])
    await expect(discovery.addresses()).rejects.toThrow('callee has no address')
    lookup.mockResolvedValue([A])
    expect(await discovery.addresses()).toEqual([A])
  })

  test('rejects after timeoutMs while nothing is known and DNS hangs', async () => {
    const discovery = createDiscovery({ host: 'callee', lookup: () => new Promise(() => {}), timeoutMs: 1_000 })
    const settled = vi.fn()
    const rejected = expect(discovery.addresses().finally(settled)).rejects.toThrow('no DNS answer for callee in 1000 ms')
    await vi.advanceTimersByTimeAsync(999)
    expect(settled).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    await rejected
  })
})

describe('lookupAll', () => {
  test('gives an address as it is', async () => {
    expect(await lookupAll('127.0.0.3')).toEqual(['127.0.0.3'])
  })

  test('rejects a name that there cannot be', async () => {
    await expect(lookupAll('nobody.invalid')).rejects.toMatchObject({ syscall: 'getaddrinfo' })
  })
})
