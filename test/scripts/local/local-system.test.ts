import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { prepareLocalSystem } from '../../../scripts/local/local-system.ts'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { defineService, defineSystem } from '../../../services/chassis/contract/graph.ts'
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

test('a service that ends before anything else happens is told, and not waited for', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-local-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const system = defineSystem({ name: 'acme', services: [missing] })
  const local = await prepareLocalSystem({ system, dir, postgres: undefined as never })
  await expect(local.start(missing)).rejects.toThrow(/^missing ended with 1: /)
})
