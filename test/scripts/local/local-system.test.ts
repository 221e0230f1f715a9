import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { z } from 'zod'
import { describeChangeable, graphPorts, prepareLocalSystem } from '../../../scripts/local/local-system.ts'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { defineService, defineSystem } from '../../../services/chassis/contract/graph.ts'
import { text } from '../../../services/chassis/contract/settings.ts'
import { withGrpc } from '../../support/protocols.ts'
import { small } from '../../support/small.ts'

// The real files, which take their time to close: a process that ends at once has ended by then.
vi.mock('node:fs/promises', async importOriginal => {
  const real = await importOriginal<typeof import('node:fs/promises')>()
  const open: typeof real.open = async (...args) => {
    const file = await real.open(...args)
    const close = file.close.bind(file)
    file.close = () => sleep(1_500).then(close)
    return file
  }
  return { ...real, open }
})

const missing = defineService({
  name: 'missing',
  port: 18_080,
  contract: defineContract({}),
  calls: [],
  ...small,
})

test('what people may change is told with what it takes, described or not', () => {
  const settings = { LIMIT: z.coerce.number().int(), NAME: text('Ada', 'a name'), PLAIN: z.string().optional() }
  const lines = describeChangeable(defineSystem({ name: 'acme', services: [defineService({ ...missing, settings })] })).split('\n')
  expect(lines).toEqual(expect.arrayContaining(['  MISSING_LIMIT: a whole number', '  MISSING_NAME: a name', '  MISSING_PLAIN: a text']))
  expect(lines.join()).not.toContain('undefined')
})

test('a service that ends before anything else happens is told, and not waited for', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-local-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const system = defineSystem({ name: 'acme', services: [missing] })
  const local = await prepareLocalSystem({ system, dir, postgres: undefined as never })
  await expect(local.start(missing)).rejects.toThrow(/^missing ended with 1: /)
})

describe('a service that is served by gRPC', () => {
  const stock = withGrpc(missing, 18_090)
  const call = { to: stock, mode: 'optional', attemptTimeoutMs: 100 } as const
  const prepared = async (protocol: 'http' | 'grpc') => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-local-'))
    onTestFinished(() => rm(dir, { recursive: true, force: true }))
    const desk = defineService({ ...missing, name: 'desk', port: 18_081, calls: [{ ...call, protocol }] })
    const system = defineSystem({ name: 'acme', services: [stock, desk] })
    const local = await prepareLocalSystem({ system, dir, portsOf: service => graphPorts(service, 10) })
    return { stock: local.environment(stock), desk: local.environment(desk) }
  }

  test('listens on that port, moved as all are', async () => {
    const envs = await prepared('grpc')
    expect(envs.stock).toMatchObject({ PORT: '18090', GRPC_PORT: '18100' })
    expect(envs.desk).not.toHaveProperty('GRPC_PORT')
  })

  test.each([
    ['grpc', '127.0.0.1:18100'],
    ['http', '127.0.0.1:18090'],
  ] as const)('is found by an edge of %s at %s', async (protocol, host) => {
    expect((await prepared(protocol)).desk.MISSING_HOST).toBe(host)
  })
})
