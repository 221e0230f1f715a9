import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { newId } from '@fairlead/chassis'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openLocalIssuer } from '../../scripts/local/credentials.ts'
import { type LocalShop, prepareLocalShop, scraped } from '../shop/support/local-shop.ts'

/**
 * Clients that are not ours, against the shop's user service as a process of its own:
 * go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3, go install github.com/bojand/ghz/cmd/ghz@v0.93.0, pip install grpcio-tools grpcio-status
 */
const has = (...command: [string, ...string[]]) => {
  try {
    execFileSync(command[0], command.slice(1), { stdio: 'ignore' })
    return true
  } catch {
    process.stderr.write(`SKIPPED: no client of gRPC is tried with ${command[0]}, for ${command.join(' ')} does not work\n`)
    return false
  }
}
const hasGrpcurl = has('grpcurl', '-version')
const hasGhz = has('ghz', '--version')
const hasPython = has('python3', '-c', 'import grpc_tools, grpc_status')

const run = promisify(execFile)
const SERVICE = 'user.v1.UserService'

describe.runIf(hasGrpcurl || hasGhz || hasPython)('of the user service', () => {
  let shop: LocalShop
  let host: string
  let token: string
  let strangersToken: string
  let userId: string
  let user: Awaited<ReturnType<LocalShop['startUser']>>
  let dir: string

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fairlead-grpc-'))
    shop = await prepareLocalShop()
    user = await shop.startUser()
    host = shop.userGrpc.host
    const issuer = await openLocalIssuer(join(shop.dir, 'workload-tokens'))
    const read = async (caller: string) => (await readFile(await issuer.writeToken(caller, 'user'), 'utf8')).trim()
    strangersToken = await read('stranger')
    token = await read('order')
    userId = (await shop.newCustomer()).id
  }, 120_000)

  afterAll(async () => {
    await shop?.close()
    await rm(dir, { recursive: true, force: true })
  })

  const reservation = (amount = 100, orderId: string = newId()) => ({ orderId, userId, total: { amount, currency: 'EUR' } })

  /** Its output, whether or not it ends with 0; shown, for a run is also the record of what foreign clients see. */
  const shown = async (command: string, args: string[]) => {
    const { stdout, stderr } = await run(command, args, { timeout: 60_000 }).catch(error => error as { stdout: string; stderr: string })
    const line = [command, ...args].join(' ').replace(/ey[\w-]+\.[\w.-]+/g, 'TOKEN')
    process.stdout.write(`$ ${line}\n${`${stdout}${stderr}`.slice(0, 2_000)}\n\n`)
    return stdout + stderr
  }

  describe.runIf(hasGrpcurl)('grpcurl', () => {
    const grpcurl = (...args: string[]) => shown('grpcurl', ['-plaintext', ...args])
    const call = (method: string, body: object, more: string[] = [], as = token) =>
      grpcurl('-H', `authorization: Bearer ${as}`, ...more, '-d', JSON.stringify(body), host, `${SERVICE}/${method}`)

    test('finds and describes by reflection what there is', async () => {
      expect(await grpcurl(host, 'list')).toContain(SERVICE)
      expect(await grpcurl(host, 'describe', `${SERVICE}.ReserveCredit`)).toContain('rpc ReserveCredit ( .user.v1.ReserveCreditRequest )')
      expect(await grpcurl(host, 'describe', 'user.v1.Money')).toContain('int64 amount = 1;')
    })

    test('asks for health', async () => {
      expect(await grpcurl(host, 'grpc.health.v1.Health/Check')).toContain('SERVING')
      expect(await grpcurl('-d', '{"service":"none"}', host, 'grpc.health.v1.Health/Check')).toContain('NotFound')
    })

    test('reserves and releases credit', async () => {
      const asked = reservation()
      expect(await call('ReserveCredit', asked)).toContain('"state": "reserved"')
      expect(await call('ReleaseCredit', { orderId: asked.orderId })).toContain('noContent')
    })

    test('is told what is wrong', async () => {
      expect(await call('ReserveCredit', reservation(), [], 'wrong')).toContain('Code: Unauthenticated')
      expect(await call('ReserveCredit', reservation(), [], strangersToken)).toContain('Code: PermissionDenied')
      user.child.kill('SIGSTOP')
      expect(await call('ReserveCredit', reservation(), ['-max-time', '0.001'])).toMatch(/deadline exceeded/i)
      user.child.kill('SIGCONT')
      const exceeded = await call('ReserveCredit', reservation(10_000_000))
      expect(exceeded).toContain('Code: FailedPrecondition')
      expect(exceeded).toContain('CREDIT_EXCEEDED')
      expect(await call('ReserveCredit', reservation(-1, 'none'))).toMatch(/order_id|total\.amount/)
    })
  })

  test.runIf(hasPython)(
    'a client that grpcio-tools generated from proto/user/v1/user.proto gets every status',
    async () => {
      await run('python3', ['-m', 'grpc_tools.protoc', '-I', 'proto', `--python_out=${dir}`, `--grpc_python_out=${dir}`, 'user/v1/user.proto'])
      const unknownBefore = await scraped(user, `rpc_server_unknown_fields_total{rpc_method="${SERVICE}/ReserveCredit"}`)
      const output = await shown('python3', ['test/slow/grpc-client.py', dir, host, String(user.child.pid), userId, token, strangersToken])
      const lines = output
        .split('\n')
        .filter(line => line.startsWith('{'))
        .map(line => JSON.parse(line))
      expect(lines).toMatchObject([
        { call: 'reserve', code: 'OK', answer: 'ok' },
        { call: 'release', code: 'OK', answer: 'no_content' },
        { call: 'reserve what was released', code: 'FAILED_PRECONDITION', reason: 'RESERVATION_RELEASED', domain: 'user' },
        { call: 'wrong token', code: 'UNAUTHENTICATED', reason: 'UNAUTHORIZED' },
        { call: 'token of a service without an edge', code: 'PERMISSION_DENIED', reason: 'FORBIDDEN' },
        { call: '1 ms', code: 'DEADLINE_EXCEEDED' },
        { call: 'unknown field', code: 'OK' },
        { call: 'too much', code: 'FAILED_PRECONDITION', reason: 'CREDIT_EXCEEDED', domain: 'user' },
        { call: 'invalid', code: 'INVALID_ARGUMENT', reason: 'INVALID_REQUEST' },
        { call: 'gzip', code: 'UNIMPLEMENTED', reason: 'COMPRESSION_UNSUPPORTED' },
      ])
      expect(lines[8].fields.length).toBeGreaterThan(0)
      for (const field of lines[8].fields) expect(['order_id', 'total.amount']).toContain(field)
      await vi.waitFor(async () =>
        expect(await scraped(user, `rpc_server_unknown_fields_total{rpc_method="${SERVICE}/ReserveCredit"}`)).toBe(unknownBefore + 1),
      )
    },
    90_000,
  )

  test.runIf(hasGhz)(
    'ghz calls 3,000 times, 20 at once, without an error',
    async () => {
      const report = await shown('ghz', [
        '--insecure',
        ...['--call', `${SERVICE}/ReserveCredit`, '-n', '3000', '-c', '20', '-O', 'json'],
        ...['-m', JSON.stringify({ authorization: `Bearer ${token}` }), '-d', JSON.stringify(reservation(1))],
        host,
      ])
      expect(JSON.parse(report)).toMatchObject({ count: 3_000, statusCodeDistribution: { OK: 3_000 } })
    },
    90_000,
  )
})
