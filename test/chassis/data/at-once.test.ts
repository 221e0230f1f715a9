import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { newId } from '../../../services/chassis/contract/ids.ts'
import type { Deciding, SettleAtOnce, Settling } from '../../../services/chassis/data/delivery.ts'
import { claimKey, fingerprintOf, recordingAnswer, recordingKey } from '../../../services/chassis/data/idempotency.ts'
import { type Message, MORE, type Removed, removingMessage, sendingCommand, type Written } from '../../../services/chassis/data/messages.ts'
import { openOutbox } from '../../../services/chassis/data/outbox.ts'
import { statement } from '../../../services/chassis/data/statement.ts'
import { makeTables } from '../../../services/chassis/data/tables.ts'
import { booking } from '../../support/commands.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

let runtime: TestRuntime
let db: TestDatabase

beforeAll(async () => {
  runtime = testRuntime()
  db = await testDatabase(undefined, { runtime, poolSize: 20 })
  const client = new pg.Client({ connectionString: db.url })
  await client.connect()
  await makeTables(client).finally(() => client.end())
  // Without keys, so that what is done twice is seen twice.
  await db.sql('create table done (subject uuid, as_what text)')
})
afterAll(() => db?.close())
beforeEach(() => db.sql('delete from outbox; delete from done; delete from idempotency_keys'))

const done = () => db.sql<{ subject: string; as_what: string }>('select subject, as_what from done')
const soon = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 })
const blocked = (count: number) =>
  soon(async () => {
    const waiting = await db.sql("select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
    expect(waiting).toHaveLength(count)
  })

/** A transaction of somebody else that holds what `sql` takes. */
async function elsewhere(sql: string): Promise<(end: 'commit' | 'rollback') => Promise<void>> {
  const client = new pg.Client({ connectionString: db.url })
  await client.connect()
  await client.query('begin')
  await client.query(sql)
  return async end => {
    await client.query(end)
    await client.end()
  }
}

describe('a statement that records a key and does what it stands for', () => {
  const KEY = { owner: '$1', key: '$2', fingerprint: '$3', subjectId: '$4', aliveMs: '$5' }
  const DO = statement<{ subject: string }>(
    'do-once',
    `with ${recordingKey(KEY, '$6::boolean')}, did as (insert into done (subject, as_what) select subject_id, $2 from new_key returning subject)
     select subject from did`,
  )
  const doOnce = async ({ key = 'k', subject = newId(), where = true } = {}) =>
    (await db.database.query(runtime.scope(), DO, ['ada', key, fingerprintOf({ a: 1 }), subject, 60_000, where]))[0]?.subject
  const keys = () => db.sql<{ subject_id: string }>('select subject_id, answer_status from idempotency_keys')
  const insert = (subject: string) =>
    elsewhere(
      `insert into idempotency_keys (owner, key, fingerprint, subject_id, alive_until) values ('ada', 'k', '', '${subject}', now() + interval '1 minute')`,
    )

  test('does it for a new key, which is then under way for others', async () => {
    const subject = newId()
    expect(await doOnce({ subject })).toBe(subject)
    expect(await done()).toEqual([{ subject, as_what: 'k' }])
    const scope = runtime.scope()
    const claiming = db.database.transaction(scope, tx => claimKey(tx, scope, { owner: 'ada', key: 'k', fingerprint: fingerprintOf({ a: 1 }) }))
    await expect(claiming).rejects.toMatchObject({ code: 'idempotency-conflict' })
  })

  test('does nothing for a key that is there, nor where something else does not hold', async () => {
    const first = await doOnce()
    expect(await doOnce()).toBeUndefined()
    expect(await doOnce({ key: 'other', where: false })).toBeUndefined()
    expect(await done()).toHaveLength(1)
    expect(await keys()).toEqual([{ subject_id: first, answer_status: null }])
  })

  test('does it again after 24 hours, and forgets the first answer', async () => {
    await doOnce()
    await db.sql("update idempotency_keys set answer_status = 201, answer_body = '{}', created_at = now() - interval '24 hours 1 second'")
    const second = await doOnce()
    expect(second).toBeDefined()
    expect(await done()).toHaveLength(2)
    expect(await keys()).toEqual([{ subject_id: second, answer_status: null }])
  })

  test('is done once by a hundred at once', async () => {
    for (let round = 0; round < 5; round++) {
      await db.sql('delete from done; delete from idempotency_keys')
      const all = await Promise.all(Array.from({ length: 100 }, () => doOnce()))
      expect(all.filter(Boolean)).toHaveLength(1)
      expect(await done()).toHaveLength(1)
    }
  })

  test('does nothing while another transaction has the key, which is not waited for', async () => {
    const scope = runtime.scope()
    await db.database.transaction(scope, async tx => {
      await claimKey(tx, scope, { owner: 'ada', key: 'k', fingerprint: fingerprintOf({ a: 1 }) })
      expect(await doOnce()).toBeUndefined()
    })
    expect(await doOnce()).toBeDefined()
  })

  test.each(['commit', 'rollback'] as const)('waits for who has written the key without asking for it, and goes by their %s', async end => {
    const other = newId()
    const conclude = await insert(other)
    const doing = doOnce()
    await blocked(1)
    await conclude(end)
    if (end === 'commit') {
      expect(await doing).toBeUndefined()
      expect(await done()).toEqual([])
      expect((await keys()).map(({ subject_id }) => subject_id)).toEqual([other])
    } else {
      expect(await doing).toBeDefined()
      expect(await done()).toHaveLength(1)
    }
  })
})

describe('a statement that sends a command', () => {
  const SEND = statement<Written>('send-once', `with did as (insert into done values ($1, 'sent') returning 1) ${sendingCommand(2, 'did')}`)

  test('writes what a transaction would, and its message is attempted like any other', async () => {
    const { outbox } = pod()
    const scope = runtime.scope(5_000)
    const [subject, other] = [newId(), newId()]
    const parts = (id: string) => ({ params: { id }, body: { sku: 'a' } })
    const draft = outbox.draft(scope, 'stock.reserve', subject, parts(subject))
    const [row] = await db.database.query(scope, SEND, [subject, ...draft.values])
    const sent = await db.database.transaction(scope, tx => outbox.send(tx, scope, 'stock.reserve', other, parts(other), { leased: true }))
    const columns = "kind, version, sequence, attempts, traceparent, parked_at, due_at > now() + interval '4 seconds' as leased"
    const written = await db.sql(`select ${columns} from outbox order by created_at`)
    expect(written[0]).toEqual(written[1])
    const message = draft.written(row as Written)
    expect({ ...message, id: '', subjectId: '', payload: {} }).toEqual({ ...sent, id: '', subjectId: '', payload: {} })
    const [stored] = await db.sql<{ id: string; subject_id: string; payload: unknown }>(
      'select id, subject_id, payload from outbox order by created_at',
    )
    expect(stored).toEqual({ id: message.id, subject_id: subject, payload: message.payload })
  })
})

const held = { status: 200, body: { left: 3 } } as const

// It is not guarded by a state of its own: only the message tells that it is done.
const SETTLE = statement<Removed>(
  'settle-once',
  `with changed as (insert into done (subject, as_what) select $1::uuid, 'at once' where exists (select from outbox where id = $2) returning 1),
   removed as (${removingMessage('$2', 'exists (select from changed)')}),
   answered as (${recordingAnswer({ owner: '$3', key: '$4', status: '200', body: "'{}'", location: 'null' }, 'exists (select from removed)')})
   select ${MORE} from changed`,
)
const INSERT = statement('done-insert', "insert into done (subject, as_what) values ($1, 'in a transaction')")

type Reserve = SettleAtOnce<unknown, string>

/** A pod whose callee holds what it is asked for. */
function pod(atOnce: Reserve['atOnce'] = settleAtOnce) {
  const own = testRuntime()
  const opened = openOutbox({ ...own, service: booking, database: db.database, call: async () => held })
  const settler: Reserve = {
    atOnce,
    otherwise: async (_answer: unknown, { tx, scope, subject }: Settling) => {
      await tx.query(scope, INSERT, [subject])
      return 'in a transaction'
    },
  }
  return { ...opened, settler, runtime: own }
}

async function settleAtOnce(_answer: unknown, { queries, scope, subject, messageId }: Deciding) {
  const [row] = await queries.query(scope, SETTLE, [subject, messageId, 'ada', 'k'])
  return row && { value: 'at once', more: row.more }
}

const send = ({ outbox }: ReturnType<typeof pod>, subject: string, leased = true): Promise<Message<'stock.reserve'>> => {
  const scope = runtime.scope()
  const parts = { params: { id: subject }, body: { sku: 'a' } }
  return db.database.transaction(scope, tx => outbox.send(tx, scope, 'stock.reserve', subject, parts, { leased }))
}

describe('an answer that one statement settles', () => {
  test('is settled without a transaction, and its message removed', async () => {
    const one = pod()
    const subject = newId()
    const message = await send(one, subject)
    expect(await one.outbox.attempt(runtime.scope(), message, one.settler)).toEqual({ kind: 'settled', value: 'at once' })
    expect(await done()).toEqual([{ subject, as_what: 'at once' }])
    expect(await db.sql('select 1 from outbox')).toEqual([])
    expect(await one.outbox.attempt(runtime.scope(), message, one.settler)).toEqual({ kind: 'gone' })
    expect(await done()).toHaveLength(1)
  })

  test('is settled once by pods that have it at the same moment', async () => {
    for (let round = 0; round < 20; round++) {
      await db.sql('delete from done')
      const one = pod()
      const message = await send(one, newId())
      const attempts = await Promise.all(Array.from({ length: 5 }, () => one.outbox.attempt(runtime.scope(), message, one.settler)))
      expect(attempts.map(({ kind }) => kind).sort()).toEqual(['gone', 'gone', 'gone', 'gone', 'settled'])
      expect(await done()).toHaveLength(1)
    }
  })

  test('is undone when another settles the message while the statement waits', async () => {
    const one = pod()
    const message = await send(one, newId())
    const conclude = await elsewhere(`delete from outbox where id = '${message.id}'`)
    const attempt = one.outbox.attempt(runtime.scope(), message, one.settler)
    await blocked(1)
    await conclude('commit')
    expect(await attempt).toEqual({ kind: 'gone' })
    expect(await done()).toEqual([])
  })

  test('is settled although the relay claims the message while the statement waits', async () => {
    const one = pod()
    const message = await send(one, newId())
    const conclude = await elsewhere(`update outbox set attempts = attempts + 1, due_at = now() + interval '1 minute' where id = '${message.id}'`)
    const attempt = one.outbox.attempt(runtime.scope(), message, one.settler)
    await blocked(1)
    await conclude('commit')
    expect(await attempt).toEqual({ kind: 'settled', value: 'at once' })
    expect(await done()).toHaveLength(1)
    expect(await db.sql('select 1 from outbox')).toEqual([])
  })

  test('is settled by a transaction where the statement does not apply', async () => {
    const one = pod(async () => undefined)
    const message = await send(one, newId())
    expect(await one.outbox.attempt(runtime.scope(), message, one.settler)).toEqual({ kind: 'settled', value: 'in a transaction' })
    expect(await done()).toMatchObject([{ as_what: 'in a transaction' }])
    expect(await db.sql('select 1 from outbox')).toEqual([])
  })

  test('is left to the relay when the statement fails', async () => {
    const one = pod(async () => {
      throw new Error('boom')
    })
    const message = await send(one, newId())
    expect(await one.outbox.attempt(runtime.scope(), message, one.settler)).toEqual({ kind: 'left' })
    expect(await db.sql('select 1 from outbox')).toHaveLength(1)
  })

  test('wakes the relay for those of its subject that waited', async () => {
    const one = pod()
    const subject = newId()
    const first = await send(one, subject)
    await send(one, subject, false)
    const relay = one.startRelay({ 'stock.reserve': one.settler, 'stock.release': async () => {} }, { pollMs: 60_000 })
    try {
      expect(await one.outbox.attempt(runtime.scope(), first, one.settler)).toMatchObject({ kind: 'settled' })
      await soon(async () => expect(await done()).toHaveLength(2))
    } finally {
      await relay.close()
    }
  })
})
