import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { CallError } from '../../../services/chassis/contract/call-error.ts'
import type { Operation, Received } from '../../../services/chassis/contract/contract.ts'
import { newId } from '../../../services/chassis/contract/ids.ts'
import type { Scope } from '../../../services/chassis/contract/scope.ts'
import type { Transaction } from '../../../services/chassis/data/database.ts'
import { type AnswerTo, DeadLetter, type Settle, type Settling } from '../../../services/chassis/data/delivery.ts'
import type { Message } from '../../../services/chassis/data/messages.ts'
import { openOutbox, type SendOptions } from '../../../services/chassis/data/outbox.ts'
import { statement } from '../../../services/chassis/data/statement.ts'
import { makeTables } from '../../../services/chassis/data/tables.ts'
import { booking } from '../../support/commands.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

type Answer = AnswerTo<typeof booking, 'stock.reserve'>

let runtime: TestRuntime
let db: TestDatabase

beforeAll(async () => {
  runtime = testRuntime()
  db = await testDatabase(undefined, { runtime })
  const client = new pg.Client({ connectionString: db.url })
  await client.connect()
  await makeTables(client).finally(() => client.end())
  // Without a key, so that what is settled twice is seen twice.
  await db.sql('create table settled (subject uuid, as_what text)')
})
afterAll(() => db?.close())
beforeEach(() => db.sql('delete from outbox; delete from settled'))

const SETTLED = statement('settled-insert', 'insert into settled (subject, as_what) values ($1, $2)')
const soon = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 })
const held = { status: 200, body: { left: 3 } } as const
const problem = (status: number, code: string) => ({ status, problem: { code, detail: '' } }) as const

const settled = () => db.sql('select subject, as_what from settled')
const rows = () =>
  db.sql<{ id: string; kind: string; attempts: number; last_error: string | null; parked: boolean }>(
    'select id, kind, attempts, last_error, parked_at is not null as parked from outbox order by id',
  )

/** What a team writes: remembers the answer's status. */
const remember = async (answer: { status: number }, { tx, scope, subject }: Settling) => {
  await tx.query(scope, SETTLED, [subject, String(answer.status)])
  return answer.status
}

interface Opened {
  settle?: (answer: Answer, at: Settling) => Promise<unknown>
  answer?: (operation: string, options: object) => Promise<Received<Operation>>
}

/** An outbox whose callee answers as told. */
function open({ settle = remember, answer = async () => held }: Opened = {}) {
  const calls: unknown[] = []
  const own = testRuntime()
  const opened = openOutbox({
    ...own,
    service: booking,
    database: db.database,
    call: (_scope, callee, operation, options) => {
      calls.push({ callee, operation, ...options })
      return answer(operation, options)
    },
  })
  const settles: Settle<typeof booking> = { 'stock.reserve': settle, 'stock.release': remember }
  const deliver = opened.handlerOf(settles)
  return {
    ...opened,
    runtime: own,
    calls,
    deliver: (message: Message, scope: Scope = runtime.scope()) => deliver(message, scope),
    relay: (options: { pollMs?: number } = {}) => {
      const relay = opened.startRelay(settles, { pollMs: 20, maxBackoffMs: 20, ...options })
      onTestFinished(relay.close)
      return relay
    },
    send: (options: SendOptions & { subject?: string; also?: (tx: Transaction) => Promise<unknown> } = {}) => {
      const { subject = newId(), also = async () => {}, ...rest } = options
      const scope = runtime.scope()
      return db.database.transaction(scope, async tx => {
        const message = await opened.outbox.send(tx, scope, 'stock.reserve', subject, { params: { id: subject }, body: { sku: 'bike' } }, rest)
        await also(tx)
        return message
      })
    },
  }
}

describe('outbox.send', () => {
  test('writes the command with what its operation is called with', async () => {
    const { send, deliver, calls } = open()
    const message = await send()
    const { subjectId: id } = message
    expect(message).toMatchObject({ kind: 'stock.reserve', payload: { params: { id }, body: { sku: 'bike' } }, attempts: 0 })
    await deliver(message)
    expect(calls).toEqual([{ callee: 'stock', operation: 'reserve', params: { id }, body: { sku: 'bike' }, marginMs: 200 }])
  })

  test('writes nothing when its transaction rolls back', async () => {
    const { send } = open()
    await expect(send({ also: () => Promise.reject(new Error('boom')) })).rejects.toThrow('boom')
    expect(await rows()).toEqual([])
  })

  test('wakes the relay of the process once it is committed', async () => {
    const { send, relay, calls } = open()
    relay({ pollMs: 600_000 })
    await send({ also: () => pause(50) })
    await soon(async () => expect(await rows()).toEqual([]))
    expect(calls).toHaveLength(1)
  })

  test('leased is left alone by relays until the deadline of its request has passed', async () => {
    const { send, relay, calls } = open()
    await send({ leased: true })
    const { id } = await send()
    relay()
    await soon(async () => expect((await rows()).map(row => row.id)).not.toContain(id))
    expect(calls).toHaveLength(1)
    const [{ left } = { left: 0 }] = await db.sql<{ left: number }>('select extract(epoch from due_at - now())::float8 as left from outbox')
    expect(left).toBeGreaterThan(2)
    expect(left).toBeLessThanOrEqual(5.5)
  })
})

describe('outbox.withdraw', () => {
  test('takes back that command of that subject alone', async () => {
    const { send, outbox } = open()
    const [one, other] = [await send(), await send()]
    const scope = runtime.scope()
    await db.database.transaction(scope, tx => outbox.withdraw(tx, scope, 'stock.release', one.subjectId))
    expect(await rows()).toHaveLength(2)
    await db.database.transaction(scope, tx => outbox.withdraw(tx, scope, 'stock.reserve', one.subjectId))
    expect((await rows()).map(({ id }) => id)).toEqual([other.id])
  })
})

describe('a delivery', () => {
  test.each([
    ['a declared answer', held, '200'],
    ['a declared problem', problem(409, 'sold-out'), '409'],
    ['a declared problem of a status that otherwise passes by itself', problem(429, 'too-many-reservations'), '429'],
  ])('settles %s and removes its message', async (_name, answer, as_what) => {
    const { send, deliver } = open({ answer: async () => answer })
    const message = await send()
    expect(await deliver(message)).toEqual({ kind: 'done' })
    expect(await settled()).toEqual([{ subject: message.subjectId, as_what }])
    expect(await rows()).toEqual([])
  })

  test('parks what only pods of the last version say, once they must be gone', async () => {
    const { send, deliver } = open({ answer: async () => problem(403, 'forbidden') })
    const message = await send()
    expect(await deliver({ ...message, attempts: 39 })).toEqual({ kind: 'retry', reason: 'forbidden' })
    expect(await deliver({ ...message, attempts: 40 })).toEqual({ kind: 'park', reason: 'forbidden' })
  })

  test.each([
    [400, 'invalid-request', 'park'],
    [409, 'unknown-sku', 'park'],
    [401, 'unauthorized', 'retry'],
    [403, 'forbidden', 'retry'],
    [404, 'not-found', 'retry'],
    [405, 'method-not-allowed', 'retry'],
    [408, 'request-timeout', 'retry'],
    [429, 'too-many-requests', 'retry'],
    [431, 'headers-too-large', 'retry'],
  ])('never settles an undeclared problem: %i %s is for %s', async (status, code, kind) => {
    const { send, deliver } = open({ answer: async () => problem(status, code) })
    expect(await deliver(await send())).toEqual({ kind, reason: code })
    expect(await settled()).toEqual([])
    expect(await rows()).toHaveLength(1)
  })

  test('that brings no answer is tried again', async () => {
    const { send, deliver } = open({ answer: () => Promise.reject(new CallError('timeout', 'late')) })
    expect(await deliver(await send())).toEqual({ kind: 'retry', reason: 'timeout' })
    expect(await settled()).toEqual([])
    expect(await rows()).toHaveLength(1)
  })

  test.each([
    ['cannot be applied', new DeadLetter('never-asked'), { kind: 'park', reason: 'never-asked' }],
    ['is applied by code that is wrong', new TypeError('x is undefined'), TypeError],
  ])('whose answer %s changes nothing and keeps its message', async (_name, error, outcome) => {
    const { send, deliver } = open({
      settle: async (answer, at) => {
        await remember(answer, at)
        throw error
      },
    })
    const delivered = deliver(await send())
    if (outcome === TypeError) await expect(delivered).rejects.toThrow(error)
    else expect(await delivered).toEqual(outcome)
    expect(await settled()).toEqual([])
    expect(await rows()).toHaveLength(1)
  })

  test('settles once, however often and at however many places it is made', async () => {
    const counted = vi.fn()
    const { send, deliver } = open({
      settle: async (answer, at) => {
        at.tx.afterCommit(counted)
        return remember(answer, at)
      },
    })
    const message = await send()
    expect(await Promise.all([deliver(message), deliver(message), deliver(message)])).toEqual(Array(3).fill({ kind: 'done' }))
    expect(await deliver(message)).toEqual({ kind: 'done' })
    expect(await settled()).toHaveLength(1)
    expect(counted).toHaveBeenCalledOnce()
  })

  test('settles nothing of a message that was withdrawn meanwhile', async () => {
    const { send, deliver, outbox } = open()
    const message = await send()
    const scope = runtime.scope()
    await db.database.transaction(scope, tx => outbox.withdraw(tx, scope, 'stock.reserve', message.subjectId))
    expect(await deliver(message)).toEqual({ kind: 'done' })
    expect(await settled()).toEqual([])
  })

  test('keeps the message until the answer is there', async () => {
    const gate = Promise.withResolvers<typeof held>()
    const { send, deliver, calls } = open({ answer: () => gate.promise })
    const delivered = deliver(await send())
    await soon(() => expect(calls).toHaveLength(1))
    expect(await rows()).toHaveLength(1)
    gate.resolve(held)
    await delivered
    expect(await rows()).toEqual([])
  })

  test.each([
    [39, 'retry'],
    [40, 'park'],
  ])('of a command that nobody sends, attempted %i times, is for %s: pods of another version may know it', async (attempts, kind) => {
    const { send, deliver, calls } = open()
    expect(await deliver({ ...(await send()), kind: 'stock.count', attempts })).toEqual({ kind, reason: 'unknown-kind' })
    expect(calls).toEqual([])
  })
})

describe('outbox.attempt', () => {
  test('gives what settles the command, in place of what the service settles it with', async () => {
    const { send, outbox } = open({ settle: () => Promise.reject(new Error('not this one')) })
    const message = await send({ leased: true })
    const attempt = await outbox.attempt(runtime.scope(), message, async (answer, at) => {
      await remember(answer, at)
      return 'problem' in answer ? answer.problem.code : answer.body.left
    })
    expect(attempt).toEqual({ kind: 'settled', value: 3 })
    expect(await settled()).toHaveLength(1)
    expect(await rows()).toEqual([])
  })

  test('that fails leaves the message to a relay at once', async () => {
    let away = true
    const { send, outbox, relay } = open({ answer: async () => (away ? Promise.reject(new CallError('unreachable', 'away')) : held) })
    const message = await send({ leased: true })
    expect(await outbox.attempt(runtime.scope(), message, remember)).toEqual({ kind: 'left' })
    expect(await rows()).toEqual([expect.objectContaining({ last_error: 'unreachable', parked: false })])
    away = false
    relay()
    await soon(async () => expect(await settled()).toHaveLength(1))
  })

  test('parks what can never be delivered, and says so', async () => {
    const { send, outbox } = open({ answer: async () => problem(400, 'invalid-request') })
    const message = await send({ leased: true })
    expect(await outbox.attempt(runtime.scope(), message, remember)).toEqual({ kind: 'left' })
    expect(await rows()).toEqual([expect.objectContaining({ last_error: 'invalid-request', parked: true })])
    expect(runtime.lines).toContainEqual(expect.objectContaining({ level: 'error', msg: 'outbox message parked', messageId: message.id }))
  })

  test('of a message that is gone says that', async () => {
    const { send, outbox, deliver } = open()
    const message = await send({ leased: true })
    await deliver(message)
    expect(await outbox.attempt(runtime.scope(), message, remember)).toEqual({ kind: 'gone' })
    expect(await settled()).toHaveLength(1)
  })

  test('ends before its request has to answer', async () => {
    const { send, outbox } = open({ answer: () => new Promise(() => {}) })
    const scope = runtime.scope(400)
    expect(await outbox.attempt(scope, await send({ leased: true }), remember)).toEqual({ kind: 'left' })
    expect(scope.deadline.signal.aborted).toBe(false)
    expect(await rows()).toHaveLength(1)
  })
})

describe('startRelay', () => {
  test('refuses to start while a command is not settled, and names it', () => {
    const { startRelay } = open()
    const some = { 'stock.reserve': remember } as never
    expect(() => startRelay(some)).toThrow("booking sends stock.release and does not settle it: add 'stock.release' to settle")
  })

  test('tries again what its service fails to settle, logs why, and settles it once', async () => {
    let broken = true
    const {
      send,
      relay,
      runtime: own,
    } = open({
      settle: async (answer, at) => {
        await remember(answer, at)
        if (broken) throw new TypeError('x is undefined')
      },
    })
    const { id: messageId } = await send()
    relay()
    await soon(() =>
      expect(own.lines).toContainEqual(expect.objectContaining({ level: 'warn', msg: 'outbox attempt failed', messageId, kind: 'stock.reserve' })),
    )
    expect(await settled()).toEqual([])
    broken = false
    await soon(async () => expect(await rows()).toEqual([]))
    expect(await settled()).toHaveLength(1)
  })
})
