import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Operation, Received } from '../../../services/chassis/contract/contract.ts'
import { newId } from '../../../services/chassis/contract/ids.ts'
import type { Settling } from '../../../services/chassis/data/delivery.ts'
import { openOutbox, type SendOptions } from '../../../services/chassis/data/outbox.ts'
import type { RelayOptions } from '../../../services/chassis/data/relay.ts'
import { statement } from '../../../services/chassis/data/statement.ts'
import { makeTables } from '../../../services/chassis/data/tables.ts'
import { booking, stock } from '../../support/commands.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { testRuntime } from '../../support/runtime.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await testDatabase(undefined, { poolSize: 20 })
  const client = new pg.Client({ connectionString: db.url })
  await client.connect()
  await makeTables(client).finally(() => client.end())
  // Without a key, so that what is settled twice is seen twice.
  await db.sql('create table settled (n serial, subject uuid, as_what text)')
})
afterAll(() => db?.close())
beforeEach(() => db.sql('delete from outbox; delete from settled'))

const SETTLED = statement('settled-insert', 'insert into settled (subject, as_what) values ($1, $2)')
const held = { status: 200, body: { left: 3 } } as const
const refused = { status: 400, problem: { code: 'invalid-request', detail: '' } } as const
const soon = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 })
const left = async () => (await db.sql<{ id: string }>('select id from outbox order by subject_id, sequence')).map(({ id }) => id)
const blockedSessions = () =>
  db.sql("select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and wait_event = 'advisory'")

interface Call {
  subject: string
  /** What was sent, by the name that the test gives it. */
  what: string
}
/** The sender, where `reserve` has this version. */
function withVersion(commandVersion: number): typeof booking {
  const [edge] = booking.calls
  const contract = { ...stock.contract, reserve: { ...stock.contract.reserve, commandVersion } }
  return { ...booking, calls: [{ ...edge, to: { ...stock, contract } }] }
}

type Answering = (call: Call) => Promise<Received<Operation>>

/** A pod whose callee answers as told. */
function pod(answer: Answering = async () => held, { commandVersion = 1 }: { commandVersion?: number } = {}) {
  const runtime = testRuntime()
  const calls: Call[] = []
  const opened = openOutbox({
    ...runtime,
    service: withVersion(commandVersion),
    database: db.database,
    call: (_scope, _callee, _operation, options) => {
      const { params, body = { sku: 'release' } } = options as unknown as { params: { id: string }; body?: { sku: string } }
      const call = { subject: params.id, what: body.sku }
      calls.push(call)
      return answer(call)
    },
  })
  const settle = (_answer: unknown, { tx, scope, subject }: Settling) => tx.query(scope, SETTLED, [subject, 'settled'])
  const settles = { 'stock.reserve': settle, 'stock.release': settle }
  return {
    ...opened,
    runtime,
    calls,
    whats: () => calls.map(({ what }) => what),
    attempt: (message: Parameters<typeof opened.outbox.attempt>[1]) => opened.outbox.attempt(runtime.scope(), message, settle),
    relay: (options: Partial<RelayOptions> = {}) => {
      const relay = opened.startRelay(settles, { pollMs: 20, maxBackoffMs: 20, ...options })
      onTestFinished(relay.close)
      return relay
    },
    /** Sends in one transaction; `before` holds it open before that, `until` after. */
    send: (
      subject: string,
      whats: readonly string[],
      { before, until, ...options }: SendOptions & { before?: () => Promise<unknown>; until?: () => Promise<unknown> } = {},
    ) => {
      const scope = runtime.scope()
      return db.database.transaction(scope, async tx => {
        await tx.query(scope, statement('begins', 'select now()'))
        await before?.()
        const messages = []
        for (const what of whats)
          messages.push(
            what === 'release'
              ? await opened.outbox.send(tx, scope, 'stock.release', subject, { params: { id: subject } }, options)
              : await opened.outbox.send(tx, scope, 'stock.reserve', subject, { params: { id: subject }, body: { sku: what } }, options),
          )
        await until?.()
        return messages
      })
    },
  }
}

describe('messages of one subject', () => {
  test('are delivered in the order in which their transactions commit, whichever began first', async () => {
    const { send, relay, whats } = pod()
    const subject = newId()
    const gate = Promise.withResolvers<void>()
    const beginning = Promise.withResolvers<void>()
    const before = () => {
      beginning.resolve()
      return gate.promise
    }
    const began = send(subject, ['release'], { before })
    await beginning.promise
    await send(subject, ['reserve'])
    gate.resolve()
    await began
    relay({ batch: 1 })
    await soon(async () => expect(await left()).toEqual([]))
    expect(whats()).toEqual(['reserve', 'release'])
  })

  test('wait for a transaction that has written for it, as another subject does not', async () => {
    const { send, relay, whats } = pod()
    const subject = newId()
    const gate = Promise.withResolvers<void>()
    const written = Promise.withResolvers<void>()
    const until = () => {
      written.resolve()
      return gate.promise
    }
    const first = send(subject, ['one'], { until })
    await written.promise
    const committed: string[] = []
    const second = send(subject, ['two']).then(() => committed.push('two'))
    await soon(async () => expect(await blockedSessions()).toHaveLength(1))
    await send(newId(), ['other'])
    expect(committed).toEqual([])
    gate.resolve()
    await Promise.all([first, second])
    relay()
    await soon(async () => expect(await left()).toEqual([]))
    expect(whats().filter(what => what !== 'other')).toEqual(['one', 'two'])
  })

  test('take no number of a transaction that rolls back', async () => {
    const { send } = pod()
    const subject = newId()
    await expect(send(subject, ['one'], { until: () => Promise.reject(new Error('boom')) })).rejects.toThrow('boom')
    expect(await send(subject, ['one', 'two'])).toMatchObject([{ sequence: 1 }, { sequence: 2 }])
  })

  test('follow each other at once, without a poll between them', async () => {
    const { send, relay, whats } = pod()
    const { wake } = relay({ pollMs: 600_000, listens: false })
    await send(newId(), ['one', 'two', 'three', 'four'])
    wake()
    await soon(async () => expect(await left()).toEqual([]))
    expect(whats()).toEqual(['one', 'two', 'three', 'four'])
  })

  test('wait for what the request that wrote an earlier one attempts, and are not attempted by their own', async () => {
    const gate = Promise.withResolvers<typeof held>()
    const { send, attempt, relay, whats } = pod(({ what }) => (what === 'one' ? gate.promise : Promise.resolve(held)))
    const subject = newId()
    const [one] = await send(subject, ['one'], { leased: true })
    const attempting = attempt(one as never)
    const [two] = await send(subject, ['two'], { leased: true })
    relay()
    expect(await attempt(two as never)).toEqual({ kind: 'left' })
    await pause(100)
    expect(whats()).toEqual(['one'])
    gate.resolve(held)
    expect(await attempting).toMatchObject({ kind: 'settled' })
    await soon(async () => expect(await left()).toEqual([]))
    expect(whats()).toEqual(['one', 'two'])
  })

  test('keep their order whichever of several relays delivers them, and are settled once each', async () => {
    const subjects = Array.from({ length: 8 }, newId)
    const names = Array.from({ length: 6 }, (_, n) => `number ${n}`)
    const underWay = new Set<string>()
    const wrong: string[] = []
    const calls: Call[] = []
    const answer: Answering = async call => {
      if (underWay.has(call.subject)) wrong.push(`two at once: ${call.what}`)
      underWay.add(call.subject)
      calls.push(call)
      await pause(Math.random() * 10)
      underWay.delete(call.subject)
      if (Math.random() < 0.2) throw Object.assign(new Error('away'), { code: 'unreachable' })
      return held
    }
    const pods = [1, 2, 3].map(() => pod(answer))
    for (const { relay } of pods) relay({ pollMs: 5, maxBackoffMs: 5, batch: 3 })
    await Promise.all(
      subjects.map(async (subject, n) => {
        for (const what of names) await pods[n % pods.length]?.send(subject, [what])
      }),
    )
    await soon(async () => expect(await left()).toEqual([]))
    expect(wrong).toEqual([])
    for (const subject of subjects) {
      const own = calls.filter(call => call.subject === subject).map(({ what }) => what)
      expect(own.filter((what, n) => what !== own[n - 1])).toEqual(names)
    }
    expect(await db.sql('select subject, count(*)::int as times from settled group by subject')).toHaveLength(subjects.length)
    expect(await db.sql('select 1 from settled')).toHaveLength(subjects.length * names.length)
  })
})

describe('a parked message', () => {
  const parkOne = async () => {
    let broken = true
    const own = pod(async ({ what }) => (broken && what === 'one' ? refused : held))
    const subject = newId()
    const [one, two, three] = await own.send(subject, ['one', 'two', 'three'])
    const relay = own.relay()
    await soon(async () => expect(await db.sql('select id from outbox where parked_at is not null')).toEqual([{ id: one?.id }]))
    const mend = () => {
      broken = false
    }
    return { ...own, subject, one, two, three, mend, wake: relay.wake }
  }

  test('blocks the later ones of its subject and nobody else', async () => {
    const { send, subject, one, two, three, whats } = await parkOne()
    const [four] = await send(subject, ['four'])
    const others = await send(newId(), ['other', 'another'])
    await soon(async () => expect((await left()).filter(id => others.some(other => other.id === id))).toEqual([]))
    expect(await left()).toEqual([one, two, three, four].map(message => message?.id))
    expect(whats()).toEqual(['one', 'other', 'another'])
  })

  test('is delivered before them when it is retried', async () => {
    const { one, mend, whats } = await parkOne()
    mend()
    await db.sql('update outbox set parked_at = null, attempts = 0, due_at = now() where id = $1', [one?.id])
    await soon(async () => expect(await left()).toEqual([]))
    expect(whats()).toEqual(['one', 'one', 'two', 'three'])
  })

  test('lets them go when it is dropped or withdrawn', async () => {
    const { one, whats } = await parkOne()
    await db.sql('delete from outbox where id = $1', [one?.id])
    await soon(async () => expect(await left()).toEqual([]))
    expect(whats()).toEqual(['one', 'two', 'three'])
  })

  test('is counted with those that it blocks, whose age tells of no relay that is stuck', async () => {
    const { runtime, wake } = await parkOne()
    await db.sql("update outbox set created_at = now() - interval '1 hour'")
    wake()
    await soon(async () => expect(await runtime.metric('outbox_blocked')).toBe(2))
    expect(await runtime.metric('outbox_parked')).toBe(1)
    expect(await runtime.metric('outbox_pending')).toBe(2)
    expect(await runtime.metric('outbox_oldest_age_seconds')).toBe(0)
  })
})

describe('a message that no pod knows', () => {
  test.each([
    ['of another command', "kind = 'stock.count'", 'unknown-kind'],
    ['of a later version', 'version = 2', 'unknown-version'],
    ['of other parts', `payload = jsonb_set(payload, '{body,colour}', '"red"')`, 'unknown-payload'],
    ['of parts that lack one', "payload = payload - 'params'", 'unknown-payload'],
    ['of more parts', `payload = jsonb_set(payload, '{query}', '{}')`, 'unknown-payload'],
    ['of a version that is not delivered any more', 'version = 0', 'unknown-version'],
  ])('%s is never sent, blocks its own subject alone, and is parked when none has known it for long', async (_name, change, reason) => {
    const { send, relay, calls, whats } = pod()
    const [unknown, later] = await send(newId(), ['unknown', 'later'])
    await db.sql(`update outbox set ${change}, attempts = 37 where id = $1`, [unknown?.id])
    await send(newId(), ['known'])
    relay()
    await soon(async () =>
      expect(await db.sql('select id, last_error from outbox where parked_at is not null')).toEqual([{ id: unknown?.id, last_error: reason }]),
    )
    expect(await left()).toEqual([unknown?.id, later?.id])
    expect(whats()).toEqual(['known'])
    expect(calls).toHaveLength(1)
  })

  test('of the version before is left to pods of that version, which know nothing of the new one', async () => {
    const [before, after] = [pod(), pod(undefined, { commandVersion: 2 })]
    const [old] = await before.send(newId(), ['old'])
    const [recent] = await after.send(newId(), ['new'])
    expect([old?.version, recent?.version]).toEqual([1, 2])
    after.relay()
    await soon(async () => expect(await left()).toEqual([old?.id]))
    await after.send(newId(), ['newer'])
    before.relay()
    await soon(async () => expect(await left()).toEqual([]))
    expect(before.whats()).toEqual(['old'])
    expect(after.whats()).toEqual(['new', 'newer'])
  })
})
