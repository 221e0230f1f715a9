import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Checked } from '../../../services/chassis/identity/auth.ts'
import { rememberVerified } from '../../../services/chassis/identity/verified-tokens.ts'

const BOOKING = { kind: 'workload', id: 'booking' } as const
const TOLERANCE_MS = 5_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

function verifierWith(livesMs = 3_600_000) {
  let version = 1
  const check = vi.fn(async (_token: string): Promise<Checked> => ({ principal: BOOKING, exp: (Date.now() + livesMs) / 1_000 }))
  return { check, rotate: () => version++, verify: rememberVerified(() => version, check) }
}

describe('a token that was verified', () => {
  test('is not checked again', async () => {
    const { verify, check } = verifierWith()
    for (let n = 0; n < 5; n++) expect(await verify('a.b.c')).toEqual(BOOKING)
    expect(check).toHaveBeenCalledTimes(1)
  })

  test('says nothing of another one', async () => {
    const { verify, check } = verifierWith()
    await verify('a.b.c')
    check.mockRejectedValue(new Error('not valid'))
    await expect(verify('a.b.d')).rejects.toThrow('not valid')
    await expect(verify('a.b.c ')).rejects.toThrow('not valid')
  })

  test('is checked again after 30 s', async () => {
    const { verify, check } = verifierWith()
    await verify('a.b.c')
    vi.advanceTimersByTime(29_999)
    await verify('a.b.c')
    expect(check).toHaveBeenCalledTimes(1)
    vi.advanceTimersByTime(1)
    await verify('a.b.c')
    expect(check).toHaveBeenCalledTimes(2)
  })

  test('is checked again once its time has passed, whatever is remembered', async () => {
    const { verify, check } = verifierWith(1_000)
    await verify('a.b.c')
    check.mockRejectedValue(new Error('expired'))
    vi.advanceTimersByTime(999 + TOLERANCE_MS)
    expect(await verify('a.b.c')).toEqual(BOOKING)
    vi.advanceTimersByTime(1)
    await expect(verify('a.b.c')).rejects.toThrow('expired')
  })

  test('is forgotten when the keys change', async () => {
    const { verify, check, rotate } = verifierWith()
    await verify('a.b.c')
    rotate()
    check.mockRejectedValue(new Error('no such key'))
    await expect(verify('a.b.c')).rejects.toThrow('no such key')
  })

  test('is not remembered when the keys changed while it was checked', async () => {
    const { verify, check, rotate } = verifierWith()
    const { promise, resolve } = Promise.withResolvers<Checked>()
    check.mockReturnValueOnce(promise)
    const first = verify('a.b.c')
    rotate()
    resolve({ principal: BOOKING, exp: Date.now() / 1_000 + 60 })
    expect(await first).toEqual(BOOKING)
    await verify('a.b.c')
    expect(check).toHaveBeenCalledTimes(2)
  })
})

test('a token that is not good is checked each time', async () => {
  const { verify, check } = verifierWith()
  check.mockRejectedValueOnce(new Error('keys cannot be fetched'))
  await expect(verify('a.b.c')).rejects.toThrow('keys cannot be fetched')
  expect(await verify('a.b.c')).toEqual(BOOKING)
})

test('1,000 tokens are remembered, and the oldest makes room', async () => {
  const { verify, check } = verifierWith()
  for (let n = 0; n <= 1_000; n++) await verify(`token-${n}`)
  check.mockClear()
  await verify('token-1')
  await verify('token-1000')
  expect(check).not.toHaveBeenCalled()
  await verify('token-0')
  expect(check).toHaveBeenCalledTimes(1)
})
