import { constants } from 'node:http2'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../../services/chassis/contract/contract.ts'
import { readDetails } from '../../../../services/chassis/grpc/error-details.ts'
import { frame } from '../../../../services/chassis/grpc/frame.ts'
import { CODES, type CodeName, codeName, isServerError } from '../../../../services/chassis/grpc/status.ts'
import { unauthorized } from '../../../../services/chassis/identity/auth.ts'
import { startPair } from '../../../support/protocols.ts'
import { openRpc, type RpcAsk } from '../../../support/raw-h2.ts'

const contract = defineContract({
  put: {
    method: 'PUT',
    path: '/things/{id}',
    summary: 'Puts a thing',
    auth: 'workload',
    params: z.object({ id: z.string().max(100) }),
    body: strict({
      name: z.string(),
      count: z.int(),
      price: z.number(),
      sealed: z.boolean(),
      colour: z.enum(['red', 'blue']),
      tags: z.array(z.string()),
      labels: z.record(z.string(), z.string()),
      more: z.unknown(),
      inner: strict({ at: z.iso.datetime() }).optional(),
    }),
    maxBodyBytes: 10_000,
    responses: { 204: { description: 'Put' } },
  },
})

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_PROTOCOL_ERROR } = constants

const PUT = '/callee.v1.CalleeService/Put'
const TOKEN = { authorization: 'Bearer good' }

/** Fields by number, as the first numbering gives them. */
const string = (number: number, value: string | Uint8Array) => bytesField(number, Buffer.from(value as string))
const bytesField = (number: number, value: Uint8Array): Buffer => Buffer.concat([varint((number << 3) | 2), varint(value.length), value])
const varint = (n: number): Buffer => Buffer.from(n < 128 ? [n] : [(n & 127) | 128, ...varint(Math.floor(n / 128))])

let ask: (asked: RpcAsk & { path?: string }) => ReturnType<ReturnType<typeof openRpc>['ask']>
let pair: Awaited<ReturnType<typeof startPair>>
let handled = 0
let session: ReturnType<typeof openRpc>['session']
let numbers: Record<string, readonly [number, string]>

/** A message that the contract takes. */
const good = (more: Buffer | undefined = string(3, 'x')) => {
  const at = (name: string) => numbers[name]?.[0] as number
  return Buffer.concat([
    string(at('id'), '7'),
    string(at('name'), 'chair'),
    varint(at('colour') << 3),
    varint(1),
    ...(more ? [bytesField(at('more'), more)] : []),
  ])
}

beforeEach(async () => {
  pair = (await startPair(
    'grpc',
    contract,
    {
      put: () => {
        handled++
        return { status: 204 }
      },
    },
    {
      timeoutMs: 1_000,
      verifiers: {
        workload: async token => {
          if (token !== 'good') throw unauthorized('This token is not good', 'invalid_token')
          return { kind: 'workload', id: 'caller' }
        },
      },
    },
  )) as never
  const rpc = openRpc(pair.port)
  session = rpc.session
  ask = ({ path = PUT, headers, ...asked }) => rpc.ask(path, { headers: { ...TOKEN, ...headers }, ...asked })
  numbers = (pair.service as unknown as { grpc: { numbers: { messages: Record<string, Record<string, [number, string]>> } } }).grpc.numbers.messages
    .PutRequest as never
})

/** Whatever came: the connection is still open, and the log has no failure of ours. */
afterEach(() => {
  expect(session.closed).toBe(false)
  expect(pair.callee.runtime.lines.filter(({ level, status }) => level === 'error' && status !== 'DEADLINE_EXCEEDED')).toEqual([])
})

/** Asserts a status that is the caller's own fault, and that the connection goes on. */
async function expectCode(asked: RpcAsk & { path?: string }, code: CodeName) {
  const reply = await ask(asked)
  expect({ http: reply.http, code: codeName(reply.status ?? 99), message: reply.message }).toMatchObject({ http: 200, code })
  expect(isServerError(code)).toBe(false)
  expect(await ask({ body: frame(good()) })).toMatchObject({ status: CODES.OK })
  return reply
}

describe('what is no gRPC', () => {
  test.each([
    ['GET', { ':method': 'GET' }],
    ['another method', { ':method': 'PUT' }],
    ['no content-type', { 'content-type': undefined }],
    ['JSON', { 'content-type': 'application/json' }],
    ["gRPC's JSON", { 'content-type': 'application/grpc+json' }],
    ['gRPC-Web', { 'content-type': 'application/grpc-web+proto' }],
  ])('%s is 415 by HTTP', async (_, headers) => {
    expect(await ask({ headers: headers as never, body: frame(good()) })).toMatchObject({ http: 415, status: undefined })
    expect(await ask({ body: frame(good()) })).toMatchObject({ status: CODES.OK })
  })
})

describe('a path', () => {
  test.each(['/callee.v1.CalleeService/Nothing', '/other.v1.Other/Put', '/', '//', PUT.toLowerCase(), `${PUT}/`, `${PUT}?a=b`, '/things/7'])(
    '%s is UNIMPLEMENTED',
    async path => {
      const reply = await expectCode({ path, body: frame(good()) }, 'UNIMPLEMENTED')
      expect(readDetails(reply.details)?.reason).toBe('NOT_FOUND')
    },
  )

  test.each(['*', '', `http://callee${PUT}`])('"%s" is none, and ends its stream', async path => {
    expect(await ask({ path, body: frame(good()) })).toMatchObject({ http: undefined, rst: NGHTTP2_PROTOCOL_ERROR })
    expect(await ask({ body: frame(good()) })).toMatchObject({ status: CODES.OK })
  })

  test('that nobody has declared is no label of a metric', async () => {
    await ask({ path: '/callee.v1.CalleeService/Stranger', body: frame(good()) })
    expect((await pair.callee.runtime.metrics.expose(undefined)).text).not.toContain('Stranger')
  })
})

describe('a frame', () => {
  test.each([
    ['that is not there', undefined, 'INVALID_ARGUMENT'],
    ['of three bytes', Buffer.alloc(3), 'INVALID_ARGUMENT'],
    ['that claims more than comes', Buffer.from([0, 0, 0, 0, 9, 1]), 'INVALID_ARGUMENT'],
    ['that claims less than comes', Buffer.from([0, 0, 0, 0, 1, 1, 1]), 'INVALID_ARGUMENT'],
    ['that claims 4 GiB', Buffer.from([0, 255, 255, 255, 255, 1]), 'INVALID_ARGUMENT'],
    ['followed by another', Buffer.concat([frame(Buffer.alloc(1)), frame(Buffer.alloc(1))]), 'INVALID_ARGUMENT'],
    ['that is compressed', Buffer.from([1, 0, 0, 0, 0]), 'UNIMPLEMENTED'],
    ['with an unknown flag', Buffer.from([128, 0, 0, 0, 0]), 'UNIMPLEMENTED'],
    ['above the limit', frame(Buffer.alloc(10_001)), 'RESOURCE_EXHAUSTED'],
    ['far above the limit', frame(Buffer.alloc(5_000_000)), 'RESOURCE_EXHAUSTED'],
  ] as const)('%s is %s%s', async (_, body, code) => {
    await expectCode({ body }, code)
  })

  test('that does not arrive in time is CANCELLED', async () => {
    await expectCode({ body: frame(good()).subarray(0, 8), open: true }, 'CANCELLED')
  })

  test('with trailers after it is taken without them', async () => {
    await expectCode({ body: frame(good()), trailers: { 'x-more': 'a', 'grpc-status': '13' } }, 'OK')
  })
})

describe('a message', () => {
  test.each([
    ['that is no protobuf', () => Buffer.from([0xff, 0xff, 0xff])],
    ['with field 0', () => Buffer.from([0, 0])],
    ['with a varint of 11 bytes', () => Buffer.from([8, ...Array.from({ length: 11 }, () => 0xff)])],
    ['with a length beyond its end', () => Buffer.from([0x0a, 0x7f, 1])],
    ['with invalid UTF-8', () => Buffer.concat([good(), string(numbers.name?.[0] as number, Buffer.from([0xc3, 0x28]))])],
    ['with a group that does not end', () => Buffer.from([0xf3, 0x01])],
    ['with 9,000 groups inside each other', () => Buffer.alloc(9_000, 0x7b)],
    ['with a value 1,000 levels deep', () => good(deep(1_000))],
    ['with a number that is none of JSON', () => good(Buffer.from('11000000000000f87f', 'hex'))],
    ['with a value of no kind', () => good(Buffer.alloc(0))],
    ['with a NUL in a string', () => Buffer.concat([good(), string(numbers.name?.[0] as number, 'a\0b')])],
    [
      'with a NUL in a key',
      () => Buffer.concat([good(), bytesField(numbers.labels?.[0] as number, Buffer.concat([string(1, 'a\0'), string(2, 'b')]))]),
    ],
    ['with a NUL in a value', () => good(string(3, 'a\0'))],
    ['with a value 17 levels deep', () => good(deep(17))],
    ['with a value of an enum that there is not', () => Buffer.concat([good(), varint((numbers.colour?.[0] as number) << 3), varint(77)])],
    ['without what must be there', () => Buffer.alloc(0)],
    [
      'with an integer that JavaScript cannot hold',
      () => Buffer.concat([good(), varint((numbers.count?.[0] as number) << 3), Buffer.from('ffffffffffffffff7f', 'hex')]),
    ],
  ] as const)('%s is INVALID_ARGUMENT, and nobody handles it', async (_, message) => {
    const reply = await ask({ body: frame(good()) })
    expect(reply.status).toBe(CODES.OK)
    const before = handled
    const refused = await ask({ body: frame(message()) })
    expect({ status: refused.status, reason: readDetails(refused.details)?.reason }).toEqual({
      status: CODES.INVALID_ARGUMENT,
      reason: 'INVALID_REQUEST',
    })
    expect(handled).toBe(before)
  })

  test('with long names that are wrong is answered in the 8 KiB that clients take', async () => {
    const entry = (i: number) => Buffer.concat([string(1, `${i}${'x'.repeat(250)}`), string(2, 'a\0')])
    const labels = Array.from({ length: 30 }, (_, i) => bytesField(numbers.labels?.[0] as number, entry(i)))
    const reply = await ask({ body: frame(Buffer.concat([good(), ...labels])) })
    expect(reply.status).toBe(CODES.INVALID_ARGUMENT)
    expect(readDetails(reply.details)?.fields?.length).toBeGreaterThan(3)
    expect(JSON.stringify(reply.headers).length).toBeLessThan(8_192)
  })

  test('of any bytes is never a server-error status', async () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      // Near to what is good.
      fc.tuple(fc.nat(60), fc.nat(255)).map(([at, byte]) => {
        const message = Buffer.from(good())
        message[at % message.length] = byte
        return message
      }),
      fc.uint8Array({ maxLength: 100 }).map(more => Buffer.concat([good(), more])),
    )
    await fc.assert(
      fc.asyncProperty(bytes, async body => {
        const { http, status } = await ask({ body: frame(body) })
        expect(http).toBe(200)
        expect([CODES.OK, CODES.INVALID_ARGUMENT]).toContain(status)
      }),
      { numRuns: 400 },
    )
  })

  test('framed by any bytes is never a server-error status', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), async body => {
        const { status } = await ask({ body })
        expect(isServerError(codeName(status ?? 99))).toBe(false)
      }),
      { numRuns: 200 },
    )
  })
})

/** google.protobuf.Value of lists inside each other. */
function deep(levels: number): Buffer {
  let value: Buffer = bytesField(3, Buffer.from('x'))
  for (let i = 0; i < levels; i++) value = bytesField(6, bytesField(1, value))
  return value
}

describe('a token', () => {
  test.each([
    ['that is missing', undefined],
    ['that is not good', 'Bearer bad'],
    ['of another scheme', 'Basic Z29vZA=='],
    ['that is none', 'Bearer'],
    ['that is very long', `Bearer ${'a'.repeat(9_000)}`],
  ])('%s is UNAUTHENTICATED', async (_, authorization) => {
    const reply = await expectCode({ headers: { authorization } as never, body: frame(good()) }, 'UNAUTHENTICATED')
    expect(readDetails(reply.details)?.reason).toBe('UNAUTHORIZED')
  })
})

describe('a grpc-timeout', () => {
  test.each(['99999999H', '99999999S', '1000M', '60000m'])('of %s is held to our own', async timeout => {
    expect(await ask({ headers: { 'grpc-timeout': timeout }, body: frame(good()) })).toMatchObject({ status: CODES.OK })
  })

  test.each(['', '1', 'm', '0m', '00000000H', '-1m', '1.5S', '999999999m', '1x', 'soon', '1 m', '0x1m'])(
    'of "%s" is INVALID_ARGUMENT',
    async timeout => {
      const reply = await expectCode({ headers: { 'grpc-timeout': timeout }, body: frame(good()) }, 'INVALID_ARGUMENT')
      expect(readDetails(reply.details)?.fields).toEqual([expect.objectContaining({ field: 'grpc_timeout' })])
    },
  )

  test('of a nanosecond is spent before or after the answer', async () => {
    const { status } = await ask({ headers: { 'grpc-timeout': '1n' }, body: frame(good()) })
    expect([CODES.OK, CODES.DEADLINE_EXCEEDED]).toContain(status)
  })
})

describe('metadata', () => {
  test.each([
    ['binary garbage', { 'x-some-bin': '!!! not base64 !!!', 'grpc-trace-bin': '====' }],
    ['a traceparent that is none', { traceparent: 'x'.repeat(500), tracestate: ',,,=' }],
    ['an encoding that nobody knows', { 'grpc-accept-encoding': 'zstd,br', 'grpc-encoding': 'identity' }],
    ['60 headers', Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`x-${i}`, 'v']))],
    ['10 KiB', { 'x-large': 'a'.repeat(10_000) }],
    ['grpc-status', { 'grpc-status': '0', 'grpc-message': 'ok' }],
  ])('of %s changes nothing', async (_, headers) => {
    await expectCode({ headers: headers as never, body: frame(good()) }, 'OK')
  })

  test('of gzip messages is UNIMPLEMENTED', async () => {
    await expectCode({ headers: { 'grpc-encoding': 'gzip' }, body: Buffer.concat([Buffer.from([1]), frame(good()).subarray(1)]) }, 'UNIMPLEMENTED')
  })

  test.each([
    ['100 headers', Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`x-${i}`, 'v']))],
    ['more than 16 KiB', Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`x-${i}`, 'a'.repeat(3_000)]))],
  ])('of %s ends that stream alone', async (_, headers) => {
    const before = handled
    const reply = await ask({ headers: headers as never, body: frame(good()) })
    expect(reply.status).toBeUndefined()
    expect({ http: reply.http, rst: reply.rst }).toEqual({ http: undefined, rst: NGHTTP2_ENHANCE_YOUR_CALM })
    expect(handled).toBe(before)
    expect(await ask({ body: frame(good()) })).toMatchObject({ status: CODES.OK })
  })
})
