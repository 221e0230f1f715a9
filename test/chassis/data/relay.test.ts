import { SpanKind } from '@opentelemetry/api'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { newId } from '../../../services/chassis/contract/ids.ts'
import type { Scope } from '../../../services/chassis/contract/scope.ts'
import type { Database } from '../../../services/chassis/data/database.ts'
import { dequeue, draftOf, enqueue, handOver, type Message } from '../../../services/chassis/data/messages.ts'
import { type Outcome, type RelayOptions, startRelay } from '../../../services/chassis/data/relay.ts'
import { statement } from '../../../services/chassis/data/statement.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

let runtime: TestRuntime
let db: TestDatabase

beforeAll(async () => {
  runtime = testRuntime()
  db = await testDatabase('stock', { runtime })
})
afterAll(() => db?.close())
beforeEach(() => db.sql('delete from outbox'))

const LOCK = statement('lock-message', 'select 1 from outbox where id = $1 for update')
const soon = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 })

const write = ({ leaseMs = 0, kind = 'greet', subjectId = newId(), scope = runtime.scope() } = {}) =>
  db.database.transaction(scope, queries =>
    enqueue(queries, scope, draftOf(scope, { id: newId(), kind, version: 1, subjectId, payload: { greeting: 'hello' }, leaseMs })),
  )

interface Row {
  id: string
  attempts: number
  parked: boolean
  last_error: string | null
  /** Seconds until it is due. */
  wait: number
}

const rows = () =>
  db.sql<Row>('select id, attempts, parked_at is not null as parked, last_error, extract(epoch from due_at - now())::float8 as wait from outbox')

/** Takes the lease or the wait away from every message. */
const makeDue = () => db.sql('update outbox set due_at = now()')

/** What a handler does that succeeds. */
const settle = async (message: Message, scope: Scope): Promise<Outcome> => {
  await dequeue(db.database, scope, message.subjectId, message.kind)
  return { kind: 'done' }
}

interface Relayed {
  runtime: TestRuntime
  /** Messages in the order of their attempts. */
  handled: Message[]
  /** How often it has looked for messages. */
  polled(): number
  close(): Promise<void>
}

/** A relay that polls every few milliseconds. */
function relay(handle: RelayOptions['handle'] = settle, options: Partial<RelayOptions> = {}): Relayed {
  const own = testRuntime()
  const handled: Message[] = []
  let polls = 0
  const query: Database['query'] = async (scope, statement, values) => {
    const rows = await db.database.query(scope, statement, values)
    // The second of the two statements of a poll.
    if (statement.name === 'outbox-stats') polls++
    return rows
  }
  const { close } = startRelay({
    ...own,
    database: { ...db.database, query },
    pollMs: 10,
    handle: (message, scope) => {
      handled.push(message)
      return handle(message, scope)
    },
    ...options,
  })
  onTestFinished(close)
  return { runtime: own, handled, polled: () => polls, close }
}

/** Waits until it has looked for messages `times` more. */
async function polls({ polled }: Relayed, times: number) {
  const before = polled()
  await soon(() => expect(polled()).toBeGreaterThanOrEqual(before + times))
}

describe('enqueue', () => {
  test('gives the message as a relay will see it', async () => {
    const scope = runtime.scope()
    const subjectId = newId()
    const message = await write({ subjectId, scope })
    const { traceId, spanId } = scope.span.spanContext()
    expect(message).toEqual({
      id: expect.any(String),
      kind: 'greet',
      version: 1,
      subjectId,
      sequence: 1,
      payload: { greeting: 'hello' },
      attempts: 0,
      traceparent: `00-${traceId}-${spanId}-01`,
    })
    const { handled } = relay()
    await soon(() => expect(handled).toEqual([{ ...message, attempts: 1 }]))
  })

  test('writes nothing when its transaction rolls back', async () => {
    const scope = runtime.scope()
    const failed = db.database.transaction(scope, async queries => {
      await enqueue(queries, scope, draftOf(scope, { id: newId(), kind: 'greet', version: 1, subjectId: newId(), payload: {}, leaseMs: 0 }))
      throw new Error('boom')
    })
    await expect(failed).rejects.toThrow('boom')
    expect(await rows()).toEqual([])
  })

  test('numbers the messages of a subject, of whatever kind, and begins anew once there are none', async () => {
    const { subjectId } = await write()
    expect(await write({ subjectId })).toMatchObject({ kind: 'greet', sequence: 2 })
    expect(await write({ subjectId, kind: 'part' })).toMatchObject({ sequence: 3 })
    expect(await write()).toMatchObject({ sequence: 1 })
    await db.sql('delete from outbox where subject_id = $1 and sequence < 3', [subjectId])
    expect(await write({ subjectId })).toMatchObject({ sequence: 4 })
    await db.sql('delete from outbox where subject_id = $1', [subjectId])
    expect(await write({ subjectId })).toMatchObject({ sequence: 1 })
  })

  test('leases nothing that waits for another message of its subject', async () => {
    const { subjectId } = await write({ leaseMs: 60_000 })
    await write({ subjectId, leaseMs: 60_000 })
    expect((await rows()).map(({ wait }) => wait > 0).toSorted()).toEqual([false, true])
  })
})

describe('dequeue', () => {
  test('removes the messages of that kind for that subject alone', async () => {
    const { subjectId } = await write()
    await write({ subjectId })
    const part = await write({ subjectId, kind: 'part' })
    const other = await write()
    await dequeue(db.database, runtime.scope(), subjectId, 'greet')
    await dequeue(db.database, runtime.scope(), subjectId, 'unknown')
    expect((await rows()).map(row => row.id).toSorted()).toEqual([part.id, other.id].toSorted())
  })
})

describe('startRelay', () => {
  test('delivers a message that is due, once', async () => {
    const message = await write()
    const relayed = relay()
    await soon(async () => expect(await rows()).toEqual([]))
    await polls(relayed, 3)
    expect(relayed.handled.map(({ id }) => id)).toEqual([message.id])
  })

  test("leaves a message alone until its writer's lease ends", async () => {
    const leased = await write({ leaseMs: 60_000 })
    const relayed = relay()
    await polls(relayed, 5)
    expect(relayed.handled).toEqual([])
    expect((await rows())[0]?.wait).toBeGreaterThan(50)
    await makeDue()
    await soon(() => expect(relayed.handled.map(({ id }) => id)).toEqual([leased.id]))
  })

  test('takes the one that is due for the longest time first', async () => {
    const messages = [await write(), await write(), await write()]
    for (const [n, { id }] of messages.entries()) await db.sql('update outbox set due_at = now() - $2 * interval $$1 s$$ where id = $1', [id, n])
    const { handled } = relay(settle, { batch: 1 })
    await soon(() => expect(handled.map(({ id }) => id)).toEqual(messages.map(({ id }) => id).toReversed()))
  })

  test('never gives a message to two relays at once', async () => {
    const messages = await Promise.all(Array.from({ length: 40 }, () => write()))
    const underWay = new Set<string>()
    const overlaps: string[] = []
    const handle = async (message: Message, scope: Scope) => {
      if (underWay.has(message.id)) overlaps.push(message.id)
      underWay.add(message.id)
      await polls(one, 1)
      const outcome = await settle(message, scope)
      underWay.delete(message.id)
      return outcome
    }
    const other = relay(handle, { batch: 7 })
    const one: Relayed = relay(settle, { batch: 7 })
    await soon(async () => expect(await rows()).toEqual([]))
    expect(overlaps).toEqual([])
    expect([...one.handled, ...other.handled].map(({ id }) => id).toSorted()).toEqual(messages.map(({ id }) => id).toSorted())
  })

  test('does not wait for a message that a transaction has, such as that of another relay', async () => {
    const held = await write()
    const free = await write()
    const scope = runtime.scope()
    await db.database.transaction(scope, async queries => {
      await queries.query(scope, LOCK, [held.id])
      const { handled } = relay()
      await soon(() => expect(handled.map(({ id }) => id)).toEqual([free.id]))
    })
    await soon(async () => expect(await rows()).toEqual([]))
  })

  test('keeps a message for twice the time of an attempt, and then another relay may have it', async () => {
    await write()
    const gate = Promise.withResolvers<void>()
    const first = relay(
      async () => {
        await gate.promise
        return { kind: 'done' }
      },
      { attemptMs: 2_000 },
    )
    await soon(() => expect(first.handled).toHaveLength(1))
    const second = relay()
    await polls(second, 5)
    expect(second.handled).toEqual([])
    expect((await rows())[0]?.wait).toBeGreaterThan(2)
    expect((await rows())[0]?.wait).toBeLessThanOrEqual(4)
    await makeDue()
    await soon(() => expect(second.handled).toEqual([expect.objectContaining({ attempts: 2 })]))
    gate.resolve()
  })

  test('tries again, waiting longer each time up to maxBackoffMs', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(1)
    onTestFinished(() => void vi.restoreAllMocks())
    const waits: unknown[] = []
    const watched: Database = {
      ...db.database,
      query: (scope, statement, values) => {
        if (statement.name === 'outbox-postpone') waits.push(values?.[1])
        return db.database.query(scope, statement, values)
      },
    }
    await write()
    const { handled } = relay(async () => ({ kind: 'retry', reason: 'not yet' }), { database: watched, maxBackoffMs: 1_500 })
    await soon(async () => {
      await makeDue()
      expect(waits.length).toBeGreaterThanOrEqual(6)
    })
    expect(waits.slice(0, 6)).toEqual([200, 400, 800, 1_500, 1_500, 1_500])
    expect(handled.map(({ attempts }) => attempts).slice(0, 6)).toEqual([1, 2, 3, 4, 5, 6])
  })

  test('a message to be tried again is due after its wait, with the reason', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(1)
    onTestFinished(() => void vi.restoreAllMocks())
    await write()
    await db.sql('update outbox set attempts = 9')
    const relayed = relay(async () => ({ kind: 'retry', reason: 'status-503' }))
    await soon(async () => expect(await rows()).toEqual([expect.objectContaining({ attempts: 10, parked: false, last_error: 'status-503' })]))
    expect((await rows())[0]?.wait).toBeGreaterThan(10)
    expect((await rows())[0]?.wait).toBeLessThanOrEqual(15)
    expect(await relayed.runtime.metric('outbox_attempts_total{kind="greet",outcome="retry"}')).toBe(1)
  })

  test.each([
    ['its code', Object.assign(new Error('host 10.0.0.7 is down'), { code: 'unreachable' }), 'unreachable'],
    ['its name', new TypeError('x is undefined'), 'TypeError'],
  ])('a handler that throws leads to another attempt, with %s as the reason', async (_name, error, reason) => {
    await write()
    let broken = true
    const { handled, runtime: own } = relay(
      async (message, scope) => {
        if (broken) throw error
        return settle(message, scope)
      },
      { maxBackoffMs: 1 },
    )
    await soon(async () => expect((await rows())[0]?.last_error).toBe(reason))
    broken = false
    await soon(async () => expect(await rows()).toEqual([]))
    expect(handled.length).toBeGreaterThan(1)
    expect(await own.metric('outbox_attempts_total{kind="greet",outcome="done"}')).toBe(1)
  })

  test('parks what can never be delivered: it is logged, counted and not tried again', async () => {
    const { id } = await write()
    const relayed = relay(async () => ({ kind: 'park', reason: 'status-400' }))
    await soon(async () => expect(await rows()).toEqual([expect.objectContaining({ attempts: 1, parked: true, last_error: 'status-400' })]))
    await makeDue()
    await polls(relayed, 5)
    expect(relayed.handled).toHaveLength(1)
    expect(relayed.runtime.lines).toContainEqual(
      expect.objectContaining({
        level: 'error',
        msg: 'outbox message parked',
        messageId: id,
        kind: 'greet',
        reason: 'status-400',
        trace_id: expect.stringMatching(/^[0-9a-f]{32}$/),
      }),
    )
    expect(await relayed.runtime.metric('outbox_parked')).toBe(1)
    expect(await relayed.runtime.metric('outbox_pending')).toBe(0)
    expect(await relayed.runtime.metric('outbox_attempts_total{kind="greet",outcome="park"}')).toBe(1)
  })

  test('shows how many wait and how old the oldest is', async () => {
    await write({ leaseMs: 60_000 })
    await write({ leaseMs: 60_000 })
    await db.sql("update outbox set created_at = now() - interval '90 seconds' where id = (select id from outbox limit 1)")
    const { runtime: own } = relay()
    await soon(async () => expect(await own.metric('outbox_pending')).toBe(2))
    expect(await own.metric('outbox_oldest_age_seconds')).toBeGreaterThanOrEqual(90)
    expect(await own.metric('outbox_oldest_age_seconds')).toBeLessThan(150)
    await db.sql('delete from outbox')
    await soon(async () => expect(await own.metric('outbox_pending')).toBe(0))
    expect(await own.metric('outbox_oldest_age_seconds')).toBe(0)
  })

  test('goes on with the next batch at once while there are full ones', async () => {
    await Promise.all(Array.from({ length: 10 }, () => write()))
    relay(settle, { batch: 2, pollMs: 600_000 })
    await soon(async () => expect(await rows()).toEqual([]))
  })

  test('a relay that finds nothing records no span, and a parked message is not one that is stuck', async () => {
    const idle = relay(async () => ({ kind: 'park', reason: 'status-400' }))
    await polls(idle, 3)
    expect(idle.runtime.spans.getFinishedSpans()).toEqual([])
    await write()
    await soon(async () => expect(await idle.runtime.metric('outbox_parked')).toBe(1))
    expect(await idle.runtime.metric('outbox_oldest_age_seconds')).toBe(0)
  })

  test('the span of an attempt starts a trace of its own that links to the trace of the message', async () => {
    const scope = runtime.scope()
    await write({ scope })
    const traces: string[] = []
    const { runtime: own } = relay(async (message, inner) => {
      traces.push(inner.span.spanContext().traceId)
      return settle(message, inner)
    })
    const attempt = await vi.waitUntil(() => own.spans.getFinishedSpans().find(span => span.name === 'outbox greet'), {
      timeout: 5_000,
      interval: 10,
    })
    const { traceId, spanId } = scope.span.spanContext()
    expect(attempt.links).toEqual([{ context: expect.objectContaining({ traceId, spanId }) }])
    expect(attempt.kind).toBe(SpanKind.CONSUMER)
    expect(attempt.spanContext().traceId).toBe(traces[0])
    expect(attempt.spanContext().traceId).not.toBe(traceId)
  })

  test('survives the loss of every connection', async () => {
    const relayed = relay()
    await polls(relayed, 1)
    for (let round = 0; round < 3; round++) {
      await db.sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'test'")
      await vi.waitFor(() => write(), { timeout: 5_000, interval: 10 })
      await soon(async () => expect(await rows()).toEqual([]))
    }
    expect(relayed.handled).toHaveLength(3)
  })

  test('survives a database that is away, and says so', async () => {
    let away = true
    const flaky: Database = {
      ...db.database,
      query: (scope, statement, values) => (away ? Promise.reject(new Error('away')) : db.database.query(scope, statement, values)),
    }
    const { handled, runtime: own } = relay(settle, { database: flaky })
    await write()
    await soon(() => expect(own.lines.filter(line => line.msg === 'outbox cannot be read').length).toBeGreaterThan(2))
    expect(handled).toEqual([])
    away = false
    await soon(() => expect(handled).toHaveLength(1))
  })

  test('delivers also what cannot be counted', async () => {
    const flaky: Database = {
      ...db.database,
      query: (scope, statement, values) =>
        statement.name === 'outbox-stats' ? Promise.reject(new Error('takes too long')) : db.database.query(scope, statement, values),
    }
    await write()
    const { handled, runtime: own } = relay(settle, { database: flaky })
    await soon(() => expect(handled.map(({ attempts }) => attempts)).toEqual([1]))
    await soon(() => expect(own.lines).toContainEqual(expect.objectContaining({ level: 'warn', msg: 'outbox cannot be counted' })))
  })

  test('a message whose outcome cannot be written comes again when its lease ends', async () => {
    const flaky: Database = {
      ...db.database,
      query: (scope, statement, values) =>
        statement.name === 'outbox-postpone' ? Promise.reject(new Error('away')) : db.database.query(scope, statement, values),
    }
    const { id } = await write()
    const { handled, runtime: own } = relay(async () => ({ kind: 'retry', reason: 'x' }), { database: flaky, attemptMs: 50 })
    await soon(() => expect(handled.map(({ attempts }) => attempts).slice(0, 2)).toEqual([1, 2]))
    expect(own.lines).toContainEqual(expect.objectContaining({ level: 'warn', msg: expect.stringContaining('its lease runs out'), messageId: id }))
  })
})

describe('handOver', () => {
  /** A relay that nothing but a NOTIFY wakes. */
  const sleepingRelay = async () => {
    const relayed = relay(settle, { pollMs: 600_000 })
    await polls(relayed, 1)
    await soon(async () => {
      const listening = await db.sql('select state from pg_stat_activity where datname = current_database() and query = \'listen "outbox"\'')
      expect(listening).toEqual([{ state: 'idle' }])
    })
    return relayed
  }

  test('wakes a relay at once, before the lease ends', async () => {
    const { handled } = await sleepingRelay()
    const message = await write({ leaseMs: 60_000 })
    await handOver(db.database, runtime.scope(), message, { kind: 'retry', reason: 'timeout' })
    await soon(() => expect(handled.map(({ id }) => id)).toEqual([message.id]))
  })

  test('of what can never be delivered parks it and wakes nobody', async () => {
    const { handled } = await sleepingRelay()
    const message = await write({ leaseMs: 60_000 })
    await handOver(db.database, runtime.scope(), message, { kind: 'park', reason: 'status-400' })
    expect(await rows()).toEqual([expect.objectContaining({ parked: true, last_error: 'status-400' })])
    expect(handled).toEqual([])
  })
})

describe('relay.close', () => {
  test('waits for attempts under way and takes no further message', async () => {
    await write()
    const gate = Promise.withResolvers<void>()
    const { handled, close } = relay(async (message, scope) => {
      await gate.promise
      return settle(message, scope)
    })
    await soon(() => expect(handled).toHaveLength(1))
    const isClosed = vi.fn()
    const closed = close().then(isClosed)
    const { id } = await write()
    expect(isClosed).not.toHaveBeenCalled()
    gate.resolve()
    await closed
    expect(await rows()).toEqual([expect.objectContaining({ id, attempts: 0 })])
  })

  test('ends a wait for the next poll', async () => {
    const relayed = relay(settle, { pollMs: 600_000 })
    await polls(relayed, 1)
    await relayed.close()
  })

  test('is bounded by attemptMs, whatever a handler waits for', async () => {
    await write()
    const { handled, close, runtime: own } = relay(() => new Promise(() => {}), { attemptMs: 100 })
    await soon(() => expect(handled).toHaveLength(1))
    await close()
    expect(await rows()).toEqual([expect.objectContaining({ last_error: 'deadline-exceeded', parked: false })])
    expect(await own.metric('outbox_attempts_total{kind="greet",outcome="retry"}')).toBe(1)
  })
})
