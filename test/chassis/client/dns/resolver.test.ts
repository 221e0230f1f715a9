import { createServer } from 'node:net'
import { encode, TRUNCATED_RESPONSE } from 'dns-packet'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createResolver } from '../../../../services/chassis/client/dns/resolver.ts'
import { a, noSuchName, startDnsServer } from '../../../support/dns-server.ts'

const question = { name: 'user.example', type: 'A' } as const
const found = [a(question.name, '10.0.0.1')]
const known = () => found
const silent = () => undefined
const refusing = () => ({ flags: 5 })
const failing = () => ({ flags: 2 })

const { signal } = new AbortController()

/** One round, in which a busy machine answers, too. */
const PATIENT = [10_000]

describe('resolver.ask', () => {
  test('gives what the server knows', async () => {
    const server = await startDnsServer(known)
    expect((await createResolver([server], PATIENT).ask(question, signal)).answers).toMatchObject(found)
    expect(server.questions).toEqual(['A user.example over udp'])
  })

  test('gives a name that is not there as an answer', async () => {
    const server = await startDnsServer(() => noSuchName())
    expect(await createResolver([server], PATIENT).ask(question, signal)).toMatchObject({ rcode: 'NXDOMAIN', answers: [] })
  })

  test('comes from another port each time, and with another id', async () => {
    const ids = new Set<number | undefined>()
    const server = await startDnsServer((_question, { query }) => {
      ids.add(query.id)
      return found
    })
    const resolver = createResolver([server], PATIENT)
    for (let n = 0; n < 20; n++) await resolver.ask(question, signal)
    expect(new Set(server.sources).size).toBeGreaterThan(15)
    expect(ids.size).toBeGreaterThan(15)
  })

  test.each([
    ['that refuses', refusing],
    ['that fails', failing],
    ['that is silent', silent],
  ])('goes on to the next server after one %s, and stays with it', async (_name, bad) => {
    const [first, second] = [await startDnsServer(bad), await startDnsServer(known)]
    const resolver = createResolver([first, second], [1_000, 10_000])
    for (let n = 0; n < 3; n++) expect((await resolver.ask(question, signal)).answers).toMatchObject(found)
    expect([first.questions.length, second.questions.length]).toEqual([1, 3])
  })

  test('goes on to the next server after one that is not there', async () => {
    const [first, second] = [await startDnsServer(), await startDnsServer(known)]
    await first.close()
    expect((await createResolver([first, second], PATIENT).ask(question, signal)).answers).toMatchObject(found)
  })

  test('asks again when a datagram was lost', async () => {
    const server = await startDnsServer()
    server.answer = () => (server.questions.length === 1 ? undefined : found)
    expect((await createResolver([server], [300, 10_000]).ask(question, signal)).answers).toMatchObject(found)
  })

  test('does not ask again who refused, and says why there is no answer', async () => {
    const [first, second] = [await startDnsServer(refusing), await startDnsServer(failing)]
    await expect(createResolver([first, second], [10_000, 10_000]).ask(question, signal)).rejects.toThrow(
      'no answer for A user.example: the server answers REFUSED; the server answers SERVFAIL',
    )
    expect([first.questions.length, second.questions.length]).toEqual([1, 1])
  })

  test('gives up on a silent server after three rounds', async () => {
    const server = await startDnsServer(silent)
    await expect(createResolver([server]).ask(question, signal)).rejects.toThrow(`127.0.0.1:${server.port} did not answer in 1000 ms`)
    expect(server.questions).toHaveLength(3)
  })

  test('says so where there is no server at all', async () => {
    await expect(createResolver([]).ask(question, signal)).rejects.toThrow('no answer for A user.example: there is no DNS server')
  })

  test('waits for the right answer after wrong ones', async () => {
    const server = await startDnsServer()
    server.answer = (_question, { query }) => {
      const wrong = [
        Buffer.from('hello'),
        encode({ type: 'response', id: ((query.id ?? 0) + 1) % 0x10000, questions: [question], answers: [a(question.name, '10.6.6.6')] }),
        encode({ type: 'response', id: query.id ?? 0, questions: [{ ...question, name: 'other.example' }], answers: [a(question.name, '10.6.6.6')] }),
      ]
      for (const bytes of wrong) server.send(bytes)
      return found
    }
    expect((await createResolver([server], PATIENT).ask(question, signal)).answers).toMatchObject(found)
    expect(server.questions).toHaveLength(1)
  })

  test('hears nobody but the server that it asked', async () => {
    const [server, stranger] = [await startDnsServer(), await startDnsServer()]
    server.answer = (_question, { query, from }) => {
      stranger.send(encode({ type: 'response', id: query.id ?? 0, questions: [question], answers: [a(question.name, '10.6.6.6')] }), from)
      setTimeout(() => server.send(encode({ type: 'response', id: query.id ?? 0, questions: [question], answers: found }), from), 50)
      return undefined
    }
    expect((await createResolver([server], PATIENT).ask(question, signal)).answers).toMatchObject(found)
  })

  test('leaves no socket open', async () => {
    const server = await startDnsServer((_question, { over }) => (over === 'tcp' ? found : { flags: TRUNCATED_RESPONSE }))
    const ours = () => process.getActiveResourcesInfo().filter(kind => kind === 'UDPWrap').length
    for (let n = 0; n < 5; n++) await createResolver([server], PATIENT).ask(question, signal)
    // That of the server.
    await vi.waitFor(() => expect(ours()).toBe(1))
    expect(await server.connections()).toBe(0)
  })

  test('ends when the signal aborts', async () => {
    const server = await startDnsServer(silent)
    const controller = new AbortController()
    const asked = createResolver([server], PATIENT).ask(question, controller.signal)
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(asked).rejects.toBe(reason)
    await expect(createResolver([server], PATIENT).ask(question, controller.signal)).rejects.toBe(reason)
  })
})

describe('an answer that does not fit into a datagram', () => {
  const large = Array.from({ length: 500 }, (_, n) => a(question.name, `10.0.${n >> 8}.${n & 255}`))
  const truncated = { flags: TRUNCATED_RESPONSE, answers: large.slice(0, 20) }

  test('is fetched over TCP, from the same server', async () => {
    const server = await startDnsServer((_question, { over }) => (over === 'tcp' ? large : truncated))
    expect((await createResolver([server], PATIENT).ask(question, signal)).answers).toHaveLength(500)
    expect(server.questions).toEqual(['A user.example over udp', 'A user.example over tcp'])
  })

  test.each([
    ['is truncated there as well', () => truncated, 'the answer is truncated over TCP, too'],
    ['is another one there', () => Buffer.alloc(40), 'answered something else'],
    ['is not there', () => refusing(), 'the server answers REFUSED'],
    ['does not come', silent, 'did not answer in 1000 ms'],
  ])('makes the next server be asked when it %s', async (_name, overTcp, why) => {
    const first = await startDnsServer((_question, { over }) => (over === 'tcp' ? overTcp() : truncated))
    const second = await startDnsServer(known)
    expect((await createResolver([first, second], PATIENT).ask(question, signal)).answers).toMatchObject(found)
    await second.close()
    await expect(createResolver([first]).ask(question, signal)).rejects.toThrow(why)
  })

  test('makes the next server be asked when the connection ends before it is there', async () => {
    const first = await startDnsServer((_question, { over }) => (over === 'tcp' ? undefined : truncated))
    const second = await startDnsServer(known)
    const ending = createServer(socket => socket.on('error', () => {}).end(Buffer.from([1, 0, 5])))
    onTestFinished(() => void ending.close())
    await first.replaceTcp(ending)
    expect((await createResolver([first, second], PATIENT).ask(question, signal)).answers).toMatchObject(found)
    await expect(createResolver([first]).ask(question, signal)).rejects.toThrow('closed the connection before its answer was complete')
  })
})
