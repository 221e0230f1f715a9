import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { expectProblem } from '../../support/http.ts'
import { openRaw, rawRequest } from '../../support/raw-http.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

const MAX = 1_000
const contract = defineContract({
  echo: {
    method: 'POST',
    path: '/echo',
    summary: 'Gives the text back',
    auth: 'none',
    body: strict({ text: z.string() }),
    responses: { 200: { description: 'The text', body: strict({ text: z.string() }) } },
  },
})

let service: TinyService

beforeAll(async () => {
  service = await startTinyService(contract, { echo: async ({ body }) => ({ status: 200, body }) }, { body: { maxBytes: MAX, timeoutMs: 300 } })
})
afterAll(() => service?.close())
beforeEach(() => {
  service.runtime.lines.length = 0
})

const JSON_TYPE = 'content-type: application/json'
const post = (headers: string[], body: string) => rawRequest(service.port, 'POST /echo', headers, body)
const chunked = (...chunks: string[]) => `${chunks.map(chunk => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')}0\r\n\r\n`
const ofSize = (bytes: number) => JSON.stringify({ text: 'a'.repeat(bytes - '{"text":""}'.length) })

describe('Content-Type', () => {
  test.each([
    'application/json',
    'Application/JSON',
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'application/json ; charset="utf-8"',
  ])('%s is taken', async type => {
    const reply = await service.http('POST', '/echo', { raw: '{"text":"a"}', headers: { 'content-type': type } })
    expect({ status: reply.status, type: reply.type, body: reply.body }).toEqual({
      status: 200,
      type: expect.stringMatching(/^application\/json\b/),
      body: { text: 'a' },
    })
  })

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/jsonp',
    'application/merge-patch+json',
    'application/json; charset=iso-8859-1',
    'application/json; charset=utf-16',
    'application/json; version=1',
    'text/plain, application/json',
    'json',
  ])('%s is 415 and names what is taken', async type => {
    const reply = await service.http('POST', '/echo', { raw: '{"text":"a"}', headers: { 'content-type': type } })
    expectProblem(reply, 415, 'unsupported-media-type')
    expect(reply.headers.get('accept')).toBe('application/json')
  })

  test('none is 415', async () => {
    expectProblem(await post(['content-length: 12'], '{"text":"a"}'), 415, 'unsupported-media-type')
  })
})

describe('size', () => {
  test('a body of exactly the limit is taken', async () => {
    expect((await post([JSON_TYPE, `content-length: ${MAX}`], ofSize(MAX))).status).toBe(200)
  })

  test('a Content-Length above the limit is 413 before the body comes, and closes the connection', async () => {
    const { socket, reply } = openRaw(service.port)
    socket.write(`POST /echo HTTP/1.1\r\nhost: a\r\n${JSON_TYPE}\r\ncontent-length: ${MAX + 1}\r\n\r\n`)
    expectProblem(await reply, 413, 'body-too-large')
    expect((await reply).headers.get('connection')).toBe('close')
  })

  test('a chunked body above the limit is 413 while it still comes, and closes the connection', async () => {
    const { socket, reply } = openRaw(service.port)
    socket.write(`POST /echo HTTP/1.1\r\nhost: a\r\n${JSON_TYPE}\r\ntransfer-encoding: chunked\r\n\r\n`)
    for (let i = 0; i < 3; i++) socket.write(`190\r\n${'a'.repeat(400)}\r\n`)
    expectProblem(await reply, 413, 'body-too-large')
    expect((await reply).headers.get('connection')).toBe('close')
  })

  test('a chunked body within the limit is taken', async () => {
    const reply = await post([JSON_TYPE, 'transfer-encoding: chunked'], chunked('{"text"', ':"a', 'b"}'))
    expect({ status: reply.status, body: reply.body }).toEqual({ status: 200, body: { text: 'ab' } })
  })

  test('a character may be cut by the end of a chunk', async () => {
    const { socket, reply } = openRaw(service.port)
    const body = Buffer.from('{"text":"€"}')
    const cut = body.indexOf('€') + 1
    socket.write(`POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${JSON_TYPE}\r\ncontent-length: ${body.length}\r\n\r\n`)
    socket.write(body.subarray(0, cut))
    await sleep(20)
    socket.write(body.subarray(cut))
    expect(Buffer.from((await reply).body.text, 'latin1').toString()).toBe('€')
  })

  test('a body that no operation reads is refused by its size all the same', async () => {
    const reply = await rawRequest(service.port, 'POST /nowhere', [`content-length: ${MAX + 1}`], ofSize(MAX + 1))
    expectProblem(reply, 413, 'body-too-large')
  })
})

describe('time', () => {
  test('a body that does not arrive in time is 408 and closes the connection', async () => {
    const { socket, reply } = openRaw(service.port)
    socket.write(`POST /echo HTTP/1.1\r\nhost: a\r\n${JSON_TYPE}\r\ncontent-length: 20\r\n\r\n{"text":`)
    expectProblem(await reply, 408, 'request-timeout')
    expect((await reply).headers.get('connection')).toBe('close')
  })

  test('a body that came while the process stood still is read', async () => {
    const { socket, reply } = openRaw(service.port)
    const body = '{"text":"a"}'
    socket.write(`POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${JSON_TYPE}\r\ncontent-length: ${body.length}\r\n\r\n{`)
    await vi.waitFor(async () => expect(await service.runtime.metric('http_server_active_requests')).toBe(1))
    // From here on timers are looked at before what has come.
    await new Promise(resolve => setImmediate(resolve))
    socket.write(body.slice(1))
    const standsUntil = performance.now() + 500
    while (performance.now() < standsUntil);
    expect((await reply).status).toBe(200)
  })

  test('a body that trickles in is 408 all the same', async () => {
    const { socket, reply } = openRaw(service.port)
    socket.write(`POST /echo HTTP/1.1\r\nhost: a\r\n${JSON_TYPE}\r\ncontent-length: 900\r\n\r\n`)
    const trickle = setInterval(() => socket.write(' '), 20)
    expectProblem(await reply.finally(() => clearInterval(trickle)), 408, 'request-timeout')
  })
})

describe('a caller that goes away', () => {
  test("in the middle of its body is the caller's fault and leaves nothing behind", async () => {
    const { socket } = openRaw(service.port)
    socket.write(`POST /echo HTTP/1.1\r\nhost: a\r\n${JSON_TYPE}\r\ncontent-length: 20\r\n\r\n{"text":`)
    await vi.waitFor(async () => expect(await service.runtime.metric('http_server_active_requests')).toBe(1))
    socket.destroy()
    await vi.waitFor(() => expect(service.runtime.lines.filter(line => line.msg === 'request')).toHaveLength(1))
    expect(service.runtime.lines.filter(({ level }) => level !== 'debug')).toEqual([
      expect.objectContaining({ level: 'warn', status: 400, code: 'invalid-request', route: '/echo' }),
    ])
    expect(await service.runtime.metric('http_server_active_requests')).toBe(0)
  })
})

describe('what is not strict JSON', () => {
  test.each(['{"text":"a","text":"b"}', '{"text":', ''])('%s is 400', async raw => {
    expectProblem(await service.http('POST', '/echo', { raw, headers: { 'content-type': 'application/json' } }), 400, 'invalid-request')
  })

  test('an unknown field is named', async () => {
    const reply = await service.http('POST', '/echo', { json: { text: 'a', colour: 'red' } })
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([{ field: 'body.colour', message: 'is not a known field' }])
  })
})

describe('bodies that are still arriving', () => {
  const plain = defineContract({
    ...contract,
    look: { method: 'GET', path: '/look', summary: 'Takes no body', auth: 'none', responses: { 204: { description: 'Done' } } },
  })
  let bounded: TinyService

  beforeAll(async () => {
    bounded = await startTinyService(
      plain,
      { echo: async ({ body }) => ({ status: 200, body }), look: async () => ({ status: 204 }) },
      { trustedHops: 1, maxConcurrency: 2, body: { timeoutMs: 400, arriving: { total: 3, perSource: 2 } } },
    )
  })
  afterAll(() => bounded?.close())

  const refused = (limit: string) => bounded.runtime.metric(`http_server_refused_bodies_total{limit="${limit}"}`)
  const from = (source: string) => ({ 'x-forwarded-for': source })
  const say = (source: string) => bounded.http('POST', '/echo', { json: { text: 'a' }, headers: from(source) })
  /** A body that never ends. */
  const dawdle = (source: string) => {
    const { socket, reply } = openRaw(bounded.port)
    socket.write(`POST /echo HTTP/1.1\r\nhost: a\r\n${JSON_TYPE}\r\nx-forwarded-for: ${source}\r\ncontent-length: 20\r\n\r\n{`)
    return reply
  }
  const arriving = (count: number) => vi.waitFor(async () => expect(await bounded.runtime.metric('http_server_active_requests')).toBe(count))

  test('take no place of the requests at work, few per source, and give theirs back', async () => {
    const slow = [dawdle('192.0.2.1'), dawdle('192.0.2.1')]
    await arriving(2)
    const more = await say('192.0.2.1')
    expectProblem(more, 429, 'too-many-requests')
    expect([more.headers.get('connection'), more.headers.get('retry-after')]).toEqual(['close', '1'])
    expect((await say('192.0.2.2')).status).toBe(200)
    expect((await bounded.http('GET', '/look', { headers: from('192.0.2.1') })).status).toBe(204)
    for (const reply of await Promise.all(slow)) expectProblem(reply, 408, 'request-timeout')
    expect((await say('192.0.2.1')).status).toBe(200)
    expect(await refused('source')).toBe(1)
  })

  test('are bounded in all, which keeps nobody from what takes no body', async () => {
    const slow = [dawdle('192.0.2.1'), dawdle('192.0.2.2'), dawdle('192.0.2.3')]
    await arriving(3)
    const more = await say('192.0.2.4')
    expectProblem(more, 503, 'overloaded')
    expect(more.headers.get('connection')).toBe('close')
    expect((await bounded.http('GET', '/look', { headers: from('192.0.2.4') })).status).toBe(204)
    await Promise.all(slow)
    expect(await refused('total')).toBe(1)
  })

  test('end with the answer to a request that takes none', async () => {
    const { socket, reply } = openRaw(bounded.port)
    socket.write('GET /look HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n')
    const endless = setInterval(() => socket.write(`400\r\n${'a'.repeat(1_024)}\r\n`), 5)
    const { status, headers } = await reply.finally(() => clearInterval(endless))
    expect([status, headers.get('connection')]).toEqual([204, 'close'])
  })

  test('and a whole one costs the connection nothing', async () => {
    const { socket, reply } = openRaw(bounded.port)
    socket.write('GET /look HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}')
    socket.write('GET /look HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
    let text = ''
    socket.on('data', chunk => {
      text += chunk
    })
    await reply
    expect(text.match(/HTTP\/1\.1 204/g)).toHaveLength(2)
  })

  test('may be longer where the operation says so', async () => {
    const long = { ...contract.echo, maxBodyBytes: 100_000 }
    const service = await startTinyService({ echo: long }, { echo: async ({ body }) => ({ status: 200, body }) }, { body: { maxBytes: MAX } })
    onTestFinished(service.close)
    expect((await service.http('POST', '/echo', { raw: ofSize(100_000), headers: { 'content-type': 'application/json' } })).status).toBe(200)
    expectProblem(
      await service.http('POST', '/echo', { raw: ofSize(100_001), headers: { 'content-type': 'application/json' } }),
      413,
      'body-too-large',
    )
  })
})
