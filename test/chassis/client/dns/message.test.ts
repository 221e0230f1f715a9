import { decode, encode, type Packet, TRUNCATED_RESPONSE } from 'dns-packet'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeReply, encodeQuestion, plain, ServerFailure } from '../../../../services/chassis/client/dns/message.ts'
import { a, srv } from '../../../support/dns-server.ts'

const question = { name: '_http._tcp.user.example', type: 'SRV' } as const
const records = [srv(question.name, 'a.example', 80)]
const reply = (rest: Packet = {}) =>
  encode({ type: 'response', id: 7, questions: [{ ...question, class: 'IN' }], answers: records, additionals: [a('a.example', '10.0.0.1')], ...rest })
const read = (rest: Packet = {}) => decodeReply(reply(rest), 7, question)

describe('plain', () => {
  test('makes names equal that DNS takes for equal', () => {
    expect([plain('A.Example.'), plain('a.example')]).toEqual(['a.example', 'a.example'])
  })
})

describe('encodeQuestion', () => {
  test('asks one question, wants recursion, and tells what fits into a datagram', () => {
    expect(decode(encodeQuestion(7, { ...question, name: `${question.name}.` }))).toMatchObject({
      id: 7,
      type: 'query',
      flag_rd: true,
      questions: [{ name: question.name, type: 'SRV', class: 'IN' }],
      additionals: [{ type: 'OPT', udpPayloadSize: 1_232 }],
    })
  })
})

describe('decodeReply', () => {
  test('gives the records of a reply', () => {
    expect(read()).toMatchObject({ rcode: 'NOERROR', answers: records, authorities: [], additionals: [{ name: 'a.example', data: '10.0.0.1' }] })
  })

  test('takes the question in any case', () => {
    expect(read({ questions: [{ name: '_HTTP._tcp.User.example', type: 'SRV', class: 'IN' }] })).toMatchObject({ rcode: 'NOERROR' })
  })

  test('tells a name that is not there', () => {
    expect(read({ flags: 3, answers: [] })).toMatchObject({ rcode: 'NXDOMAIN', answers: [] })
  })

  test('tells one that is truncated, and gives nothing of it', () => {
    expect(read({ flags: TRUNCATED_RESPONSE })).toBe('truncated')
  })

  test.each([
    ['with another id', { id: 8 }],
    ['to another name', { questions: [{ name: '_http._tcp.other.example', type: 'SRV', class: 'IN' }] }],
    ['to another type', { questions: [{ ...question, type: 'A', class: 'IN' }] }],
    ['of another class', { questions: [{ ...question, class: 'CH' }] }],
    ['to no question', { questions: [] }],
    ['to two questions', { questions: [question, question] }],
    ['that is a query', { type: 'query' }],
    ['to another kind of request', { flags: 5 << 11 }],
  ] as [string, Packet][])('passes over one %s', (_name, rest) => {
    expect(read(rest)).toBeUndefined()
  })

  test.each([
    ['SERVFAIL', { flags: 2 }, 'SERVFAIL'],
    ['REFUSED', { flags: 5 }, 'REFUSED'],
    ['BADVERS', { additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 512, extendedRcode: 1, ednsVersion: 0, flags: 0, options: [] }] }, '1'],
  ] as [string, Packet, string][])('throws at %s', (_name, rest, code) => {
    expect(() => read(rest)).toThrow(ServerFailure)
    expect(() => read(rest)).toThrow(`the server answers ${code}`)
  })

  test('passes over a message that promises more records than any of ours has', () => {
    const bytes = reply()
    bytes.writeUInt16BE(2_047, 6)
    expect(decodeReply(bytes, 7, question)).toBeUndefined()
    const many = Array.from({ length: 2_048 }, () => a('a', '10.0.0.1'))
    expect(read({ answers: many, additionals: [] })).toMatchObject({ rcode: 'NOERROR' })
    expect(read({ answers: many })).toBeUndefined()
  })

  test('reads 500 instances with an address each', () => {
    const hosts = Array.from({ length: 500 }, (_, n) => `192-168-200-${n}.stock-pods.acme.svc.cluster.local`)
    const answers = hosts.map(host => srv(question.name, host, 8_080))
    expect(read({ answers, additionals: hosts.map((host, n) => a(host, `192.168.200.${n % 256}`)) })).toMatchObject({ rcode: 'NOERROR' })
  })

  test('passes over a message whose names lead through thousands of pointers each', () => {
    const header = reply({ answers: [], additionals: [] })
    const chain = Buffer.alloc(8_000)
    const start = header.length + 11
    for (let at = 0; at < chain.length; at += 2) chain.writeUInt16BE(0xc000 | (at === 0 ? 12 : start + at - 2), at)
    const holder = Buffer.concat([Buffer.from([0, 0, 10, 0, 1, 0, 0, 0, 0, chain.length >> 8, chain.length & 255]), chain])
    const named = Buffer.from([0xc0 | ((start + chain.length - 2) >> 8), (start + chain.length - 2) & 255, 0, 10, 0, 1, 0, 0, 0, 0, 0, 0])
    const withRecords = (count: number) => {
      const bytes = Buffer.concat([header, holder, ...Array.from({ length: count }, () => named)])
      bytes.writeUInt16BE(count + 1, 6)
      return decodeReply(bytes, 7, question)
    }
    expect(withRecords(10)).toMatchObject({ rcode: 'NOERROR' })
    expect(withRecords(1_000)).toBeUndefined()
  })

  test('passes over a name that points at itself', () => {
    const bytes = Buffer.from('000780000001000100000000c00c00210001c00c00210001000000050000', 'hex')
    expect(decodeReply(bytes, 7, question)).toBeUndefined()
  })

  test('passes over any bytes, and any reply with some of its bytes changed', () => {
    const settle = (bytes: Buffer) => {
      try {
        decodeReply(bytes, 7, question)
      } catch (error) {
        expect(error).toBeInstanceOf(ServerFailure)
      }
    }
    const good = reply()
    const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { maxLength: 8 }), changes => {
        const bytes = Buffer.from(good)
        for (const [at, value] of changes) bytes[at] = value
        settle(bytes)
      }),
    )
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), bytes => settle(Buffer.from([0, 7, ...bytes]))))
  })
})
