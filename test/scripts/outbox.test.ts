import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { fairlead } from '../support/fairlead.ts'

let db: TestDatabase
let dir: string
beforeAll(async () => {
  db = await testDatabase('stock')
  dir = await mkdtemp(join(tmpdir(), 'fairlead-outbox-'))
  await writeFile(join(dir, 'url'), db.url)
})
afterAll(async () => {
  await db?.close()
  await rm(dir, { recursive: true, force: true })
})

const outbox = (...args: string[]) => fairlead(['outbox', '--database-url-file', join(dir, 'url'), ...args])

let parked: string
let underWay: string
beforeEach(async () => {
  await db.sql('truncate outbox')
  const insert = (id: string, when: string | null) =>
    db.sql('insert into outbox (id, kind, subject_id, payload, attempts, due_at, parked_at, last_error) values ($1, $2, $3, $4, 7, now(), $5, $6)', [
      id,
      'stock.reserve',
      newId(),
      {},
      when,
      when && 'reservation-mismatch',
    ])
  parked = newId()
  underWay = newId()
  await insert(parked, '2026-11-24')
  await insert(underWay, null)
})

describe('npx fairlead outbox', () => {
  test('list shows what is parked and why; --all also what is under way', async () => {
    const { stdout } = await outbox('list')
    expect(stdout).toContain(`${parked}  stock.reserve`)
    expect(stdout).toContain('7 attempts  reservation-mismatch')
    expect(stdout).not.toContain(underWay)
    const all = JSON.parse((await outbox('list', '--all', '--json')).stdout)
    expect(all.map((row: { id: string }) => row.id).sort()).toEqual([parked, underWay].sort())
  })

  test('retry makes a parked message due again', async () => {
    expect((await outbox('retry', parked)).code).toBe(0)
    expect(await db.sql('select attempts, parked_at from outbox where id = $1', [parked])).toEqual([{ attempts: 0, parked_at: null }])
  })

  test('drop removes a parked message and leaves one that is under way', async () => {
    const { code, stderr } = await outbox('drop', parked, underWay)
    expect(code).toBe(1)
    expect(stderr).toContain(`not parked: ${underWay}`)
    expect(await db.sql('select id from outbox')).toEqual([{ id: underWay }])
  })

  test('what the database does not do in time is not done later either', async () => {
    const holder = new pg.Client(db.url)
    await holder.connect()
    await holder.query('begin; lock table outbox in access exclusive mode')
    const { code, stderr } = await outbox('drop', parked).finally(() => holder.end())
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'error: the database refuses: canceling statement due to statement timeout\n' })
    expect(await db.sql('select id from outbox where id = $1', [parked])).toHaveLength(1)
  }, 30_000)

  test('says of a database without an outbox that it has none', async () => {
    await db.sql('alter table outbox rename to elsewhere')
    const { code, stderr } = await outbox('list').finally(() => db.sql('alter table elsewhere rename to outbox'))
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'error: the database refuses: relation "outbox" does not exist\n' })
  })

  test.each([
    [['forget'], "error: 'forget' is no action of outbox: list, retry or drop\n"],
    [['retry'], 'takes the ids of parked messages'],
    [['drop', 'x'], "'x' is not a message's id"],
    [['--colour'], "'--colour'"],
    [['list', '--database-url-file', '/nowhere'], '/nowhere cannot be read'],
    [['list', '--context', 'kind-x'], '--database-url-file names a database by itself'],
    [['list', '--service', 'booking'], '--database-url-file names a database by itself'],
  ])('%j is refused with one line', async (args, message) => {
    const { code, stderr } = await outbox(...args)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})
