import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { ensureSigningKeys, LOCAL_ISSUER, LOCAL_NAMESPACE, openLocalIssuer } from '../../../scripts/local/credentials.ts'
import { freePort } from '../../../services/chassis/local/ports.ts'
import { stock } from '../../support/acme.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { httpTo, listen } from '../../support/http.ts'

const MAIN = fileURLToPath(new URL('../../support/acme/services/stock/main.ts', import.meta.url))
const STATELESS = fileURLToPath(new URL('../../support/stateless-main.ts', import.meta.url))

let dir: string
let db: TestDatabase
let env: Record<string, string>

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-start-'))
  db = await testDatabase('stock')
  const issuer = await openLocalIssuer(join(dir, 'issuer'))
  env = {
    HOST: '127.0.0.1',
    PORT: '0',
    ADMIN_PORT: '0',
    GRPC_PORT: '0',
    LINGER_MS: '0',
    DATABASE_URL_FILE: await urlFile(db.url),
    NAMESPACE: LOCAL_NAMESPACE,
    SEALS_DIR: await ensureSigningKeys(join(dir, 'seals')),
    WORKLOAD_ISSUER: LOCAL_ISSUER,
    WORKLOAD_JWKS: issuer.jwksFile,
    WORKLOAD_CALLERS: 'booking',
  }
})
afterAll(async () => {
  await db?.close()
  await rm(dir, { recursive: true, force: true })
})

let count = 0

/** A file with a database's URL. */
async function urlFile(url: string): Promise<string> {
  const file = join(dir, `url-${++count}`)
  await writeFile(file, `${url}\n`)
  return file
}

/** Starts a service, stock without another, with this environment and nothing else of ours. */
function start(environment: Record<string, string>, args: string[] = [], main = MAIN) {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines: Record<string, unknown>[] = []
  createInterface(child.stdout).on('line', line => lines.push(JSON.parse(line)))
  const stderr = text(child.stderr)
  const code = new Promise<number | null>(resolve => child.on('close', resolve))
  return { child, lines, ended: async () => ({ code: await code, stderr: await stderr, lines }) }
}

describe('node services/stock/main.ts', () => {
  test('without an environment exits 1 and names every missing setting, and that alone', async () => {
    const { code, stderr, lines } = await start({}).ended()
    expect(code).toBe(1)
    expect(stderr).toBe(
      `stock cannot start: the environment has 5 problems:
  DATABASE_URL_FILE is missing: it takes the path of a file with the Postgres URL
  NAMESPACE is missing: it takes the Kubernetes namespace
  SEALS_DIR is missing: it takes the folder of the secret seals
  WORKLOAD_ISSUER is missing: it takes the cluster's token issuer, a URL
  WORKLOAD_JWKS is missing: it takes where the issuer's keys are: the path of a file, or an https URL
`,
    )
    expect(lines).toEqual([])
  })

  test('with wrong settings exits 1 and names each of them, the level of the log among them', async () => {
    const wrong = { ...env, PORT: 'http', LOG_LEVEL: 'loud', DATABASE_URL_FILE: join(dir, 'nothing'), MAX_HELD: '-1' }
    const { code, stderr } = await start(wrong).ended()
    expect(code).toBe(1)
    expect(
      stderr
        .split('\n')
        .map(line => /^ {2}(\w+) is wrong/.exec(line)?.[1])
        .filter(Boolean),
    ).toEqual(['PORT', 'DATABASE_URL_FILE', 'LOG_LEVEL', 'MAX_HELD'])
    expect(stderr).toContain('cannot be read: ENOENT')
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  test('that cannot have its port exits 1 and logs why', async () => {
    const taken = await listen((_req, res) => void res.end())
    onTestFinished(taken.close)
    const { code, stderr, lines } = await start({ ...env, PORT: String(taken.port) }).ended()
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
    expect(lines.at(-1)).toMatchObject({ level: 'fatal', msg: 'cannot start', service: 'stock', err: { code: 'EADDRINUSE' } })
  })

  test('serves, and on SIGTERM drains and exits 0', async () => {
    const sent: string[] = []
    const collector = await listen(async (req, res) => {
      sent.push(`${req.url} ${await text(req)}`)
      res.end('{}')
    })
    onTestFinished(collector.close)
    const { child, lines, ended } = start({ ...env, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
    const listening = await vi.waitUntil(() => lines.find(line => line.msg === 'listening'), { timeout: 15_000, interval: 20 })
    const http = httpTo(`http://127.0.0.1:${listening.port}`, stock.contract)
    const admin = httpTo(`http://127.0.0.1:${listening.adminPort}`)
    expect((await admin('GET', '/readyz')).body).toBe('ok\n')
    expect((await http('GET', '/items')).status).toBe(200)
    child.kill('SIGTERM')
    const { code, stderr } = await ended()
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(lines.slice(-2).map(line => line.msg)).toEqual(['draining', 'drained'])
    // Spans of the last moment are sent before the end.
    expect(sent).toContainEqual(expect.stringMatching(/^\/v1\/traces .*GET \/items/))
  })

  test('listens when all connections of its pool are open', async () => {
    const { port, hostname } = new URL(db.url)
    let opened = 0
    // Each takes a while: whoever did not wait for them would listen before the last.
    const slow = createServer(socket => {
      setTimeout(() => {
        opened++
        const server = connect(Number(port), hostname)
        for (const end of [socket, server]) end.on('error', () => {})
        socket.pipe(server).pipe(socket)
      }, 100)
    })
    await new Promise<void>(resolve => slow.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void slow.close())
    const target = Object.assign(new URL(db.url), { port: String((slow.address() as AddressInfo).port) })
    const { lines } = start({ ...env, DATABASE_URL_FILE: await urlFile(target.href), DATABASE_POOL_SIZE: '4' })
    await vi.waitUntil(() => lines.find(line => line.msg === 'listening'), { timeout: 15_000, interval: 20 })
    expect(opened).toBe(4)
  })

  test('is not ready while its database is away, but alive', async () => {
    const { lines } = start({ ...env, DATABASE_URL_FILE: await urlFile(`postgres://a:b@127.0.0.1:${await freePort()}/c`) })
    const listening = await vi.waitUntil(() => lines.find(line => line.msg === 'listening'), { timeout: 15_000, interval: 20 })
    const admin = httpTo(`http://127.0.0.1:${listening.adminPort}`)
    const ready = await admin('GET', '/readyz')
    expect({ status: ready.status, body: ready.body }).toEqual({ status: 503, body: { failing: ['database'] } })
    expect((await admin('GET', '/livez')).status).toBe(200)
  })
})

describe('a service without a database', () => {
  const least = { HOST: '127.0.0.1', PORT: '0', ADMIN_PORT: '0', LINGER_MS: '0', NAMESPACE: LOCAL_NAMESPACE }

  test('needs no URL of one, is ready without it, and ends as any other', async () => {
    const { child, lines, ended } = start(least, [], STATELESS)
    const listening = await vi.waitUntil(() => lines.find(line => line.msg === 'listening'), { timeout: 15_000, interval: 20 })
    expect((await httpTo(`http://127.0.0.1:${listening.adminPort}`)('GET', '/readyz')).body).toBe('ok\n')
    expect((await httpTo(`http://127.0.0.1:${listening.port}`)('GET', '/')).body).toEqual({ wiring: ['runtime', 'clients', 'settings', 'secrets'] })
    child.kill('SIGTERM')
    expect(await ended()).toMatchObject({ code: 0, stderr: '' })
  })

  test('has nothing to migrate, and says so', async () => {
    const { code, lines } = await start(least, ['migrate'], STATELESS).ended()
    expect(code).toBe(1)
    expect(lines.at(-1)).toMatchObject({ msg: 'cannot start', err: { message: 'ping has no migrations: give implement() their folder' } })
  })
})

describe('node services/stock/main.ts migrate', () => {
  test('migrates with the URL of the database as its only setting, and exits 0', async () => {
    const empty = await testDatabase()
    onTestFinished(empty.close)
    const settings = { DATABASE_URL_FILE: await urlFile(empty.url) }
    const first = await start(settings, ['migrate']).ended()
    expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 0, stderr: '' })
    expect(first.lines.at(-1)).toMatchObject({ msg: 'migrated', ran: ['001_items', '002_titles'] })
    expect(await empty.sql('select count(*)::int as items from items')).toEqual([{ items: 0 }])
    const second = await start(settings, ['migrate']).ended()
    expect({ code: second.code, last: second.lines.at(-1) }).toMatchObject({ code: 0, last: { msg: 'migrated', ran: [] } })
  })

  test('without it exits 1 and names it alone', async () => {
    const { code, stderr } = await start({ LOG_LEVEL: 'loud' }, ['migrate']).ended()
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr:
        'stock cannot start: the environment has 1 problem:\n  DATABASE_URL_FILE is missing: it takes the path of a file with the Postgres URL\n',
    })
  })

  test('without a database exits 1 and logs why', async () => {
    const settings = { DATABASE_URL_FILE: await urlFile(`postgres://a:b@127.0.0.1:${await freePort()}/c`), DATABASE_WAIT_MS: '0' }
    const { code, stderr, lines } = await start(settings, ['migrate']).ended()
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
    expect(lines.at(-1)).toMatchObject({ level: 'fatal', msg: 'cannot start', err: { code: 'ECONNREFUSED' } })
  })
})
