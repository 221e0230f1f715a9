import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDiscovery, type Find, type Found } from '../../../services/chassis/client/discovery.ts'
import { testRuntime } from '../../support/runtime.ts'

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

const found = (hosts: string[], freshMs = 2_000): Found => ({ addresses: hosts.map(host => ({ host, port: 80 })), freshMs })
const discover = (find: Find, timeoutMs = 1_000) => {
  const runtime = testRuntime()
  const discovery = createDiscovery({ ...runtime, name: 'callee-pods', callee: 'callee', find, timeoutMs })
  return {
    runtime,
    discovery,
    hosts: async () => (await discovery.addresses()).map(({ host }) => host),
    messages: () => runtime.lines.map(({ msg }) => msg),
    metric: (name: string, labels = '') => runtime.metric(`discovery_${name}{peer_service="callee"${labels}}`),
  }
}

describe('discovery.addresses', () => {
  test('gives all addresses, each time from the next one on', async () => {
    const { hosts } = discover(async () => found([B, C, A]))
    expect([await hosts(), await hosts(), await hosts()]).toEqual([
      [A, B, C],
      [B, C, A],
      [C, A, B],
    ])
  })

  test('asks once for all who wait at the start', async () => {
    const find = vi.fn(async () => found([A]))
    const { hosts } = discover(find)
    expect(await Promise.all([hosts(), hosts(), hosts()])).toEqual([[A], [A], [A]])
    expect(find).toHaveBeenCalledTimes(1)
  })

  test('asks again when the answer is no longer fresh, and answers from the old one meanwhile', async () => {
    const find = vi.fn(async () => found([A]))
    const { hosts } = discover(find)
    await hosts()
    await vi.advanceTimersByTimeAsync(2_000)
    await hosts()
    expect(find).toHaveBeenCalledTimes(1)
    find.mockResolvedValue(found([B]))
    await vi.advanceTimersByTimeAsync(1)
    expect(await hosts()).toEqual([A])
    expect(find).toHaveBeenCalledTimes(2)
    await settle()
    expect(await hosts()).toEqual([B])
    expect(find).toHaveBeenCalledTimes(2)
  })

  test.each([
    ['fails', () => Promise.reject(new Error('EAI_AGAIN'))],
    ['hangs', () => new Promise<Found>(() => {})],
  ])('keeps the last addresses while the registry %s, and takes the new ones when it is back', async (_name, broken) => {
    const find = vi.fn<() => Promise<Found>>(async () => found([A, B], 100))
    const { hosts } = discover(find)
    await hosts()
    find.mockImplementation(broken)
    for (let round = 0; round < 100; round++) {
      await vi.advanceTimersByTimeAsync(1_001)
      expect((await hosts()).toSorted()).toEqual([A, B])
    }
    expect(find.mock.calls.length).toBeGreaterThan(49)
    await vi.advanceTimersByTimeAsync(1_001)
    find.mockResolvedValue(found([C]))
    await vi.advanceTimersByTimeAsync(1_001)
    await hosts()
    await settle()
    expect(await hosts()).toEqual([C])
  })

  test('asks a registry that fails once a second, however many call', async () => {
    const find = vi.fn<() => Promise<Found>>(async () => found([A], 100))
    const { hosts } = discover(find)
    await hosts()
    await vi.advanceTimersByTimeAsync(101)
    find.mockRejectedValue(new Error('SERVFAIL'))
    for (let n = 0; n < 3_000; n++) {
      await hosts()
      await vi.advanceTimersByTimeAsync(1)
    }
    expect(find).toHaveBeenCalledTimes(1 + 3)
  })

  test('rejects while nothing is known, and asks again with the next call', async () => {
    const find = vi.fn<() => Promise<Found>>(() => Promise.reject(new Error('ENOTFOUND')))
    const { hosts } = discover(find)
    await expect(hosts()).rejects.toThrow('ENOTFOUND')
    find.mockResolvedValue(found([A]))
    expect(await hosts()).toEqual([A])
  })

  test('rejects after timeoutMs while nothing is known and the registry hangs', async () => {
    const { hosts } = discover(() => new Promise(() => {}))
    const settled = vi.fn()
    const rejected = expect(hosts().finally(settled)).rejects.toThrow('no DNS answer for callee-pods in 1000 ms')
    await vi.advanceTimersByTimeAsync(999)
    expect(settled).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    await rejected
  })

  test('ends a question that takes too long', async () => {
    let signal: AbortSignal | undefined
    const { hosts } = discover(given => {
      signal = given
      return new Promise(() => {})
    })
    const rejected = expect(hosts()).rejects.toThrow()
    await vi.advanceTimersByTimeAsync(1_000)
    await rejected
    expect(signal?.aborted).toBe(true)
  })

  test('waits for a fresh answer, 250 ms at most, when nobody called for long', async () => {
    const find = vi.fn<() => Promise<Found>>(async () => found([A]))
    const { hosts } = discover(find)
    await hosts()
    await vi.advanceTimersByTimeAsync(32_001)
    find.mockImplementation(async () => found([B]))
    expect(await hosts()).toEqual([B])
    await vi.advanceTimersByTimeAsync(32_001)
    find.mockImplementation(() => new Promise(() => {}))
    const waiting = hosts()
    await vi.advanceTimersByTimeAsync(250)
    expect(await waiting).toEqual([B])
  })
})

describe('a registry that knows of nobody', () => {
  test('is believed at once by who knows nobody either, and not asked again while that is fresh', async () => {
    const find = vi.fn(async () => found([], 3_000))
    const { hosts } = discover(find)
    for (let n = 0; n < 3; n++) await expect(hosts()).rejects.toThrow('callee-pods has no address')
    expect(find).toHaveBeenCalledTimes(1)
    await vi.advanceTimersByTimeAsync(3_000)
    await expect(hosts()).rejects.toThrow('callee-pods has no address')
    expect(find).toHaveBeenCalledTimes(2)
  })

  const emptied = async (rest: Partial<Found> = {}) => {
    const find = vi.fn<() => Promise<Found>>(async () => found([A], 100))
    const { hosts } = discover(find)
    await hosts()
    find.mockResolvedValue({ ...found([], 100), ...rest })
    await vi.advanceTimersByTimeAsync(101)
    await hosts()
    await settle()
    return { hosts, find }
  }
  const ask = async (hosts: () => Promise<string[]>) => {
    await hosts().catch(() => {})
    await settle()
  }

  test('is not believed for 30 s by who knows the last ones', async () => {
    const { hosts } = await emptied()
    await vi.advanceTimersByTimeAsync(29_900)
    await ask(hosts)
    expect(await hosts()).toEqual([A])
    await vi.advanceTimersByTimeAsync(101)
    await ask(hosts)
    await expect(hosts()).rejects.toThrow('callee-pods has no address')
  })

  test('begins these 30 s anew when it names somebody in between', async () => {
    const { hosts, find } = await emptied()
    await vi.advanceTimersByTimeAsync(29_000)
    find.mockResolvedValueOnce(found([A], 100))
    await ask(hosts)
    await vi.advanceTimersByTimeAsync(2_000)
    await ask(hosts)
    await vi.advanceTimersByTimeAsync(2_000)
    await ask(hosts)
    expect(await hosts()).toEqual([A])
  })

  test('is believed at once when it says so on purpose', async () => {
    const { hosts } = await emptied({ isFinal: true })
    await expect(hosts()).rejects.toThrow('callee-pods has no address')
  })
})

describe('discovery.failed', () => {
  test('leaves an address to the last, until it is reached again', async () => {
    const { discovery, hosts } = discover(async () => found([A, B]))
    await hosts()
    discovery.failed({ authority: `${B}:80` })
    expect([await hosts(), await hosts()]).toEqual([
      [A, B],
      [A, B],
    ])
    discovery.reached({ authority: `${B}:80` })
    expect(new Set([(await hosts())[0], (await hosts())[0]])).toEqual(new Set([A, B]))
  })
})

describe('what an operator sees', () => {
  test('is lookups by outcome, addresses, and those that are ejected', async () => {
    const find = vi.fn<() => Promise<Found>>(async () => found([A, B], 100))
    const { discovery, hosts, metric } = discover(find)
    expect([await metric('addresses'), await metric('lookups_total', ',outcome="found"')]).toEqual([0, 0])
    await hosts()
    for (const broken of [async () => found([], 100), () => Promise.reject(new Error('SERVFAIL'))]) {
      find.mockImplementation(broken)
      await vi.advanceTimersByTimeAsync(101)
      await hosts()
      await settle()
    }
    discovery.failed({ authority: `${A}:80` })
    expect([await metric('addresses'), await metric('ejected_addresses'), await metric('ejections_total')]).toEqual([2, 1, 1])
    discovery.reached({ authority: `${A}:80` })
    expect([await metric('ejected_addresses'), await metric('ejections_total')]).toEqual([0, 1])
    for (const outcome of ['found', 'empty', 'failed']) expect(await metric('lookups_total', `,outcome="${outcome}"`)).toBe(1)
  })

  test('is a log line for each change, and none while nothing changes', async () => {
    const find = vi.fn<() => Promise<Found>>(async () => found([A], 100))
    const { discovery, hosts, runtime, messages } = discover(find)
    const again = async () => {
      await vi.advanceTimersByTimeAsync(1_001)
      await hosts()
      await settle()
    }
    await hosts()
    await again()
    expect(messages()).toEqual(['addresses changed'])
    expect(runtime.lines[0]).toMatchObject({ level: 'info', peer: 'callee', name: 'callee-pods', added: [`${A}:80`], removed: [] })
    find.mockRejectedValue(new Error('SERVFAIL'))
    for (let n = 0; n < 3; n++) await again()
    expect(messages().slice(1)).toEqual(['the registry gives no answer'])
    find.mockResolvedValue(found([A], 100))
    for (let n = 0; n < 3; n++) await again()
    expect(messages().slice(2)).toEqual(['the registry answers again'])
    discovery.failed({ authority: `${A}:80` })
    discovery.failed({ authority: `${A}:80` })
    discovery.reached({ authority: `${A}:80` })
    discovery.reached({ authority: `${A}:80` })
    expect(messages().slice(3)).toEqual(['takes no connection: others are called first', 'answers again'])
  })
})

describe('discovery.close', () => {
  test('ends the question under way', async () => {
    const { discovery, hosts, messages } = discover(
      signal => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
    )
    const rejected = expect(hosts()).rejects.toThrow()
    discovery.close()
    await rejected
    expect(messages()).toEqual([])
  })
})
