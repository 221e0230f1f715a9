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
let waiting: string[]
let underWay: string
beforeEach(async () => {
  await db.sql('truncate outbox')
  const subject = newId()
  parked = await insert(subject, '2026-11-24')
  waiting = [await insert(subject), await insert(subject)]
  underWay = await insert(newId())
})

async function insert(subject: string, parkedAt: string | null = null): Promise<string> {
  const id = newId()
  await db.sql(
    'insert into outbox (id, kind, subject_id, payload, attempts, due_at, parked_at, last_error) values ($1, $2, $3, $4, 7, now(), $5, $6)',
    [id, 'stock.reserve', subject, {}, parkedAt, parkedAt && 'reservation-mismatch'],
  )
  return id
}

describe('npx fairlead outbox', () => {
  test('list shows what is parked and why; --all also what is under way', async () => {
    const { stdout } = await outbox('list')
    expect(stdout).toContain(`${parked}  stock.reserve`)
    expect(stdout).toContain('7 attempts  reservation-mismatch')
    for (const id of [...waiting, underWay]) expect(stdout).not.toContain(id)
    const all = JSON.parse((await outbox('list', '--all', '--json')).stdout)
    expect(all.map((row: { id: string }) => row.id)).toEqual([parked, ...waiting, underWay])
  })

  test('list shows how many a parked message blocks; --all also which message each of them waits for', async () => {
    expect((await outbox('list')).stdout).toMatch(/ {2}blocks 2 of its subject\n$/)
    const lines = (await outbox('list', '--all')).stdout.trim().split('\n')
    expect(lines.map(line => /waits for (\S+)$/.exec(line)?.[1])).toEqual([undefined, parked, parked, undefined])
    const rows = JSON.parse((await outbox('list', '--all', '--json')).stdout)
    expect(rows.map(({ blocks, waitsFor }: { blocks: number; waitsFor: string | null }) => [blocks, waitsFor])).toEqual([
      [2, null],
      [0, parked],
      [0, parked],
      [0, null],
    ])
  })

  test('list names the version of a command that is not the first', async () => {
    await db.sql('update outbox set version = 3 where id = $1', [parked])
    expect((await outbox('list')).stdout).toContain(`${parked}  stock.reserve (version 3)`)
  })

  test('retry makes a parked message due again, before those that wait for it', async () => {
    expect(await outbox('retry', parked)).toMatchObject({ code: 0, stderr: 'retry: 1 of 1; 2 follow once delivered\n' })
    expect(await db.sql('select attempts, parked_at from outbox where id = $1', [parked])).toEqual([{ attempts: 0, parked_at: null }])
  })

  test('drop removes a parked message and leaves one that is under way', async () => {
    const { code, stderr } = await outbox('drop', parked, underWay)
    expect(code).toBe(1)
    expect(stderr).toBe(`drop: 1 of 2; 2 of the same subjects go on; not parked: ${underWay}\n`)
    expect((await db.sql<{ id: string }>('select id from outbox order by id')).map(({ id }) => id)).toEqual([...waiting, underWay])
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
