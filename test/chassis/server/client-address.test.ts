import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { normalizeAddress } from '../../../services/chassis/server/client-address.ts'
import { rawRequest } from '../../support/raw-http.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

describe('normalizeAddress', () => {
  test.each([
    ['203.0.113.7', '203.0.113.7'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::FFFF:203.0.113.7', '203.0.113.7'],
    ['::ffff:cb00:7107', '203.0.113.7'],
    ['0:0:0:0:0:ffff:203.0.113.7', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::1', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8::3:4:5:6:7', '2001:db8:0:3::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['1::', '1:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::203.0.113.7', '64:ff9b:0:0::/64'],
    ['::1:2:3:4:203.0.113.7', '0:0:1:2::/64'],
    ['203.0.113.7:8443', '203.0.113.7'],
    ['[2001:db8:1:2::3]:8443', '2001:db8:1:2::/64'],
    ['[2001:db8:1:2::3]', '2001:db8:1:2::/64'],
    ['[fe80::1%eth0]:1', 'fe80:0:0:0::/64'],
    ['[::ffff:203.0.113.7]:443', '203.0.113.7'],
  ])('%s is %s', (address, expected) => {
    expect(normalizeAddress(address)).toBe(expected)
  })

  test.each([
    '',
    'unknown',
    '_hidden',
    '203.0.113',
    '0xcb.0.113.7',
    '203.0.113.07',
    '203.0.113.256',
    '1:2',
    ':::',
    '203.0.113.7:port',
    'f'.repeat(60_000),
  ])('%.40s is no address', text => {
    expect(normalizeAddress(text)).toBeUndefined()
  })
})

const contract = defineContract({
  whoAmI: {
    method: 'GET',
    path: '/',
    summary: 'The address',
    auth: 'none',
    responses: { 200: { description: 'It', body: strict({ address: z.string() }) } },
  },
})
const services: Record<number, TinyService> = {}

beforeAll(async () => {
  for (const trustedHops of [0, 1, 2]) {
    services[trustedHops] = await startTinyService(
      contract,
      { whoAmI: async ({ address }) => ({ status: 200, body: { address: address() } }) },
      { trustedHops },
    )
  }
})
afterAll(async () => {
  for (const service of Object.values(services)) await service.close()
})

const seen = async (trustedHops: number, forwarded: string[]) => {
  const { body } = await rawRequest(
    services[trustedHops]?.port ?? 0,
    'GET /',
    forwarded.map(value => `x-forwarded-for: ${value}`),
  )
  return body.address
}

describe('clientAddress()', () => {
  test.each([
    ['nothing is believed without a trusted proxy', 0, ['203.0.113.7'], '127.0.0.1'],
    ['the entry of one trusted proxy is the last one', 1, ['198.51.100.1, 203.0.113.7'], '203.0.113.7'],
    ['the entry of two trusted proxies is the last but one', 2, ['198.51.100.1, 203.0.113.7, 10.0.0.1'], '203.0.113.7'],
    ['what the caller claims further left is not believed', 1, ['1.1.1.1, 2.2.2.2, 3.3.3.3, 203.0.113.7'], '203.0.113.7'],
    ['several headers are one list', 1, ['198.51.100.1', '203.0.113.7'], '203.0.113.7'],
    ["without a header it is the connection's", 1, [], '127.0.0.1'],
    ['an empty header is no header', 1, [''], '127.0.0.1'],
    ['a list shorter than the proxies is not believed', 2, ['203.0.113.7'], '127.0.0.1'],
    ['an IPv6 entry counts as its /64', 1, ['2001:db8:1:2:3:4:5:6'], '2001:db8:1:2::/64'],
    ['a mapped entry counts as IPv4', 1, ['::ffff:203.0.113.7'], '203.0.113.7'],
    ['a port does not make it another source', 1, ['203.0.113.7:50123'], '203.0.113.7'],
    ['an entry that is no address is not believed', 1, ['198.51.100.1, unknown'], '127.0.0.1'],
    ['white space does not matter', 1, ['198.51.100.1 ,\t 203.0.113.7 '], '203.0.113.7'],
  ])('%s', async (_name, trustedHops, forwarded, address) => {
    expect(await seen(trustedHops, forwarded)).toBe(address)
  })
})
