import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Address, authorityOf, createAddresses } from '../../../services/chassis/client/addresses.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const at = (host: string, rest: Partial<Address> = {}): Address => ({ host, port: 80, ...rest })
const of = (...known: Address[]) => {
  const addresses = createAddresses()
  addresses.replace(known)
  return addresses
}
const turn = (addresses: ReturnType<typeof of>) => addresses.inTurn().map(({ host }) => host)
const firsts = (addresses: ReturnType<typeof of>, calls: number) => Array.from({ length: calls }, () => addresses.inTurn()[0]?.host)
const counts = (addresses: ReturnType<typeof of>, calls: number) =>
  Object.fromEntries(Object.entries(Object.groupBy(firsts(addresses, calls), host => host ?? '')).map(([host, all]) => [host, all?.length]))

describe('authorityOf', () => {
  test.each([
    ['10.0.0.1', '10.0.0.1:80'],
    ['fd00::1', '[fd00::1]:80'],
  ])('writes %s as a URL has it', (host, authority) => {
    expect(authorityOf({ host, port: 80 })).toBe(authority)
  })
})

describe('addresses.inTurn', () => {
  test('gives all, each time from the next one on, whatever order they came in', () => {
    const addresses = of(at('b'), at('c'), at('a'))
    expect([turn(addresses), turn(addresses), turn(addresses), turn(addresses)]).toEqual([
      ['a', 'b', 'c'],
      ['b', 'c', 'a'],
      ['c', 'a', 'b'],
      ['a', 'b', 'c'],
    ])
  })

  test('is empty where nobody is known', () => {
    expect(of().inTurn()).toEqual([])
  })

  test('spreads by weight, without a run on the heaviest', () => {
    expect(firsts(of(at('a', { weight: 3 }), at('b', { weight: 1 })), 8)).toEqual(['a', 'a', 'b', 'a', 'a', 'a', 'b', 'a'])
  })

  test('spreads evenly where all weights are 0, and calls weight 0 hardly ever among others', () => {
    expect(counts(of(at('a', { weight: 0 }), at('b', { weight: 0 })), 100)).toEqual({ a: 50, b: 50 })
    expect(counts(of(at('a', { priority: 5, weight: 1 }), at('b', { priority: 5 })), 1_010)).toEqual({ a: 1_000, b: 10 })
  })

  test('begins with the lowest priority, whose weights alone count, and ends with the highest', () => {
    const addresses = of(at('z', { priority: 1, weight: 1 }), at('a', { priority: 2, weight: 100 }), at('y', { priority: 1, weight: 1 }))
    expect([turn(addresses), turn(addresses)]).toEqual([
      ['y', 'z', 'a'],
      ['z', 'y', 'a'],
    ])
  })

  test('tells addresses apart by port, and takes one that is named twice once', () => {
    const addresses = of(at('a', { port: 1 }), at('a', { port: 2 }), at('a', { port: 1 }))
    expect(addresses.inTurn().map(({ authority }) => authority)).toEqual(['a:1', 'a:2'])
  })
})

describe('addresses.replace', () => {
  test('says what is new and what is gone, and keeps whom it knew', () => {
    const addresses = of(at('a'), at('b'))
    const [, before] = addresses.inTurn()
    expect(addresses.replace([at('b'), at('c')])).toEqual({ added: ['c:80'], removed: ['a:80'] })
    expect(addresses.inTurn().find(({ host }) => host === 'b')).toBe(before)
  })

  test('goes on with the turns of those who stay', () => {
    const addresses = of(at('a'), at('b'))
    expect(firsts(addresses, 1)).toEqual(['a'])
    addresses.replace([at('a'), at('b')])
    expect(firsts(addresses, 2)).toEqual(['b', 'a'])
  })

  test('takes new weights and priorities', () => {
    const addresses = of(at('a'), at('b'))
    expect(addresses.replace([at('a', { weight: 1 }), at('b', { weight: 3 })])).toEqual({ added: [], removed: [] })
    expect(counts(addresses, 40)).toEqual({ a: 10, b: 30 })
    addresses.replace([at('a', { priority: 1 }), at('b', { priority: 2 })])
    expect(counts(addresses, 40)).toEqual({ a: 40 })
  })

  test('forgets the failures of who was gone', () => {
    const addresses = of(at('a'), at('b'))
    addresses.fail('a:80')
    addresses.replace([at('b')])
    expect(addresses.suspects).toBe(0)
    addresses.replace([at('a'), at('b')])
    expect(counts(addresses, 10)).toEqual({ a: 5, b: 5 })
  })
})

describe('addresses.fail', () => {
  test('puts an address last, and the others spread evenly', () => {
    const addresses = of(at('a'), at('b'), at('c'))
    expect(addresses.fail('a:80')).toBe(1_000)
    expect([turn(addresses), turn(addresses)].map(hosts => hosts[2])).toEqual(['a', 'a'])
    expect(counts(addresses, 10)).toEqual({ b: 5, c: 5 })
  })

  test('ejects for a second, then for twice as long each time, up to 30 s', () => {
    const addresses = of(at('a'), at('b'))
    const times: (number | undefined)[] = []
    for (let n = 0; n < 8; n++) {
      times.push(addresses.fail('a:80'))
      vi.advanceTimersByTime((times.at(-1) ?? 0) - 1)
      expect(counts(addresses, 4)).toEqual({ b: 4 })
      vi.advanceTimersByTime(1)
    }
    expect(times).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  })

  test('counts failures at the same time as one', () => {
    const addresses = of(at('a'), at('b'))
    expect([addresses.fail('a:80'), addresses.fail('a:80'), addresses.fail('a:80')]).toEqual([1_000, undefined, undefined])
  })

  test('knows nothing of an address that is not there', () => {
    const addresses = of(at('a'))
    expect(addresses.fail('b:80')).toBeUndefined()
    expect(addresses.suspects).toBe(0)
  })

  test('makes the next priority take over once all above are ejected, and hands back', () => {
    const addresses = of(at('a', { priority: 1 }), at('b', { priority: 1 }), at('z', { priority: 2 }))
    addresses.fail('a:80')
    expect(counts(addresses, 5)).toEqual({ b: 5 })
    addresses.fail('b:80')
    expect(counts(addresses, 5)).toEqual({ z: 5 })
    addresses.recover('b:80')
    expect(counts(addresses, 5)).toEqual({ b: 5 })
  })

  test('of all leaves them all to be tried, the one that returns first at the front', () => {
    const addresses = of(at('a'), at('b'))
    addresses.fail('b:80')
    vi.advanceTimersByTime(10)
    addresses.fail('a:80')
    expect(turn(addresses)).toEqual(['b', 'a'])
  })
})

describe('an address whose time is over', () => {
  const returned = () => {
    const addresses = of(at('a'), at('b'))
    addresses.fail('a:80')
    vi.advanceTimersByTime(1_000)
    return addresses
  }

  test('is tried by one call alone for a second', () => {
    const addresses = returned()
    expect(firsts(addresses, 4).filter(host => host === 'a')).toHaveLength(1)
    vi.advanceTimersByTime(1_000)
    expect(firsts(addresses, 4).filter(host => host === 'a')).toHaveLength(1)
  })

  test('has its share again when that call reports an answer', () => {
    const addresses = returned()
    firsts(addresses, 2)
    expect(addresses.recover('a:80')).toBe(true)
    expect(addresses.suspects).toBe(0)
    expect(counts(addresses, 10)).toEqual({ a: 5, b: 5 })
    expect(addresses.fail('a:80')).toBe(1_000)
  })

  test('is ejected for twice as long when that call fails', () => {
    const addresses = returned()
    firsts(addresses, 2)
    expect(addresses.fail('a:80')).toBe(2_000)
  })

  test('that never failed has nothing to recover from', () => {
    expect(of(at('a')).recover('a:80')).toBe(false)
  })
})
