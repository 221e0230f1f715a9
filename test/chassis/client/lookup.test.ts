import { describe, expect, test } from 'vitest'
import { findByName, lookupAll } from '../../../services/chassis/client/lookup.ts'

const { signal } = new AbortController()

describe('findByName', () => {
  test('gives all addresses of the name with the port, fresh for 2 s', async () => {
    expect(await findByName('callee', 80, async () => ['10.0.0.1', 'fd00::1'])(signal)).toEqual({
      addresses: [
        { host: '10.0.0.1', port: 80 },
        { host: 'fd00::1', port: 80 },
      ],
      freshMs: 2_000,
    })
  })

  test('rejects when there is none', async () => {
    await expect(findByName('callee', 80, async () => [])(signal)).rejects.toThrow('callee has no address')
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
