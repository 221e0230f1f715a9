import type { Answer } from 'dns-packet'
import { describe, expect, test } from 'vitest'
import { createResolver } from '../../../../services/chassis/client/dns/resolver.ts'
import { findBySrv } from '../../../../services/chassis/client/dns/srv.ts'
import { type Answering, a, cname, noSuchName, soa, srv, startDnsServer, zone } from '../../../support/dns-server.ts'

const NAME = '_http._tcp.user.example'
const { signal } = new AbortController()

const findIn = async (answering: Answering) => {
  const server = await startDnsServer(answering)
  return { server, find: () => findBySrv(NAME, createResolver([server], [10_000]))(signal) }
}
const found = async (answering: Answering) => (await findIn(answering)).find()
const records = (answers: Answer[], additionals: Answer[] = []) => found(() => ({ answers, additionals }))

describe('findBySrv', () => {
  test('gives addresses, ports, priorities and weights, with one question where the addresses come along', async () => {
    const { server, find } = await findIn(() => ({
      answers: [srv(NAME, 'a.example', 8_080, { priority: 1, weight: 10 }), srv(NAME, 'B.example.', 8_081, { priority: 2, weight: 20 })],
      additionals: [a('a.example', '10.0.0.1'), a('b.example', 'fd00::2')],
    }))
    expect(await find()).toEqual({
      addresses: [
        { host: '10.0.0.1', port: 8_080, priority: 1, weight: 10 },
        { host: 'fd00::2', port: 8_081, priority: 2, weight: 20 },
      ],
      freshMs: 4_000,
    })
    expect(server.questions).toEqual([`SRV ${NAME} over udp`])
  })

  test('asks for addresses that do not come along', async () => {
    const { server, find } = await findIn(
      zone(srv(NAME, 'a.example', 80), srv(NAME, 'a.example', 81), a('a.example', '10.0.0.1'), a('a.example', 'fd00::1')),
    )
    expect((await find()).addresses.map(({ host, port }) => `${host} ${port}`)).toEqual(['10.0.0.1 80', 'fd00::1 80', '10.0.0.1 81', 'fd00::1 81'])
    expect(server.questions.toSorted()).toEqual(['A a.example over udp', 'AAAA a.example over udp', `SRV ${NAME} over udp`])
  })

  test('believes additional addresses of its own instances alone', async () => {
    const { addresses, freshMs } = await records([srv(NAME, 'a.example', 80)], [a('a.example', '10.0.0.1'), a('b.example', '10.6.6.6', 1)])
    expect([addresses.map(({ host }) => host), freshMs]).toEqual([['10.0.0.1'], 4_000])
  })

  test('takes sixteen addresses of a host and 256 in all', async () => {
    const many = Array.from({ length: 40 }, (_, n) => srv(NAME, 'a.example', 8_000 + n))
    const addresses = Array.from({ length: 100 }, (_, n) => a('a.example', `10.0.0.${n}`))
    const all = (await records(many, addresses)).addresses
    expect(all).toHaveLength(256)
    expect(new Set(all.map(({ host }) => host)).size).toBe(16)
  })

  test('does not wait for a host that nobody knows when it knows others', async () => {
    const server = await startDnsServer(({ name }) =>
      name === NAME
        ? { answers: [srv(NAME, 'a.example', 80), srv(NAME, 'silent.example', 80)], additionals: [a('a.example', '10.0.0.1')] }
        : undefined,
    )
    const { addresses } = await findBySrv(NAME, createResolver([server], [10_000]))(AbortSignal.timeout(3_000))
    expect(addresses.map(({ host }) => host)).toEqual(['10.0.0.1'])
  })

  test('follows aliases of the service and of its hosts', async () => {
    const { addresses } = await found(
      zone(
        cname(NAME, '_http._tcp.other.example'),
        srv('_http._tcp.other.example', 'a.example', 80),
        cname('a.example', 'b.example'),
        a('b.example', '10.0.0.1'),
      ),
    )
    expect(addresses.map(({ host }) => host)).toEqual(['10.0.0.1'])
  })

  test('takes aliases that come with what they lead to', async () => {
    const { server, find } = await findIn(() => ({
      answers: [cname(NAME, 'x.example'), cname('x.example', 'Y.example'), srv('y.EXAMPLE', 'a.example', 80)],
      additionals: [a('a.example', '10.0.0.1')],
    }))
    expect((await find()).addresses).toHaveLength(1)
    expect(server.questions).toHaveLength(1)
  })

  test.each([
    ['of each other in one answer', () => [cname(NAME, 'x.example'), cname('x.example', NAME)]],
    ['of each other in answer after answer', ({ name }) => [cname(name, name === NAME ? 'x.example' : NAME)]],
    ['without end', ({ name }) => [cname(name, `x.${name}`)]],
  ] satisfies [string, Answering][])('rejects aliases %s', async (_name, answering) => {
    const { server, find } = await findIn(answering)
    await expect(find()).rejects.toThrow(`${NAME} is an alias of an alias, more than 8 deep`)
    expect(server.questions.length).toBeLessThan(10)
  })

  test('leaves out an instance without an address or a port', async () => {
    const { addresses } = await found(
      zone(srv(NAME, 'a.example', 80), srv(NAME, 'gone.example', 80), srv(NAME, 'a.example', 0), a('a.example', '10.0.0.1')),
    )
    expect(addresses).toEqual([{ host: '10.0.0.1', port: 80, priority: 0, weight: 0 }])
  })

  test('rejects when no instance has an address', async () => {
    await expect(found(zone(srv(NAME, 'gone.example', 80)))).rejects.toThrow(`no instance of ${NAME} has an address and a port`)
  })

  test('gives the instances whose addresses it hears, and asks again soon for the others', async () => {
    const answering: Answering = question => (question.name === 'b.example' ? { flags: 2 } : zone(...known)(question, undefined as never))
    const known = [srv(NAME, 'a.example', 80), srv(NAME, 'b.example', 80), a('a.example', '10.0.0.1')]
    expect(await found(answering)).toEqual({ addresses: [{ host: '10.0.0.1', port: 80, priority: 0, weight: 0 }], freshMs: 800 })
  })

  test('says that nobody is there on purpose where the only target is the root', async () => {
    expect(await records([srv(NAME, '.', 0)])).toEqual({ addresses: [], freshMs: 4_000, isFinal: true })
  })

  test('takes at most 256 instances, those of the lowest priorities', async () => {
    const answers = Array.from({ length: 300 }, (_, n) => srv(NAME, 'a.example', 1 + n, { priority: 300 - n }))
    const { addresses } = await records(answers, [a('a.example', '10.0.0.1')])
    expect(addresses).toHaveLength(256)
    expect(Math.max(...addresses.map(({ priority = 0 }) => priority))).toBe(256)
  })

  test('asks for the addresses of at most 64 hosts', async () => {
    const hosts = Array.from({ length: 100 }, (_, n) => `${n}.example`)
    const { server, find } = await findIn(zone(...hosts.flatMap(host => [srv(NAME, host, 80), a(host, '10.0.0.1')])))
    expect((await find()).addresses).toHaveLength(64)
    expect(server.questions).toHaveLength(1 + 2 * 64)
  })
})

describe('an answer', () => {
  test.each([
    ['its TTL, before that is over', 3, 30, 2_400],
    ['the TTL of its addresses where that is less', 30, 2, 1_600],
    ['a second where its TTL is 0', 0, 30, 800],
    ['5 s where its TTL is longer', 3_600, 3_600, 4_000],
  ])('counts for %s', async (_name, ttl, addressTtl, freshMs) => {
    expect(await records([srv(NAME, 'a.example', 80, { ttl })], [a('a.example', '10.0.0.1', addressTtl)])).toMatchObject({ freshMs })
  })

  test('counts for the TTL of the alias that led to it', async () => {
    expect(await records([cname(NAME, 'x.example', 2), srv('x.example', 'a.example', 80)], [a('a.example', '10.0.0.1')])).toMatchObject({
      freshMs: 1_600,
    })
  })

  test.each([
    ['no such name', noSuchName(3), 2_400],
    ['no such name, for long', noSuchName(3_600), 4_000],
    ['no SRV records of the name', { authorities: [soa(3)] }, 2_400],
    ['no SRV records, with a TTL below the minimum', { authorities: [soa(30, 2)] }, 1_600],
    ['no SRV records, and not for how long', {}, 800],
  ])('that there is %s counts for as long as the zone says', async (_name, reply, freshMs) => {
    expect(await found(() => reply)).toEqual({ addresses: [], freshMs })
  })
})
