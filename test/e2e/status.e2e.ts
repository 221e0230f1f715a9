import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { system } from '../../infra/system.ts'
import { http, newCustomer, placeOrder } from './support/shop.ts'
import { context, eventually, report } from './support/target.ts'

const run = promisify(execFile)
const status = async (...flags: string[]): Promise<string> => {
  const args = ['--disable-warning=ExperimentalWarning', 'scripts/fairlead.mjs', 'status', '--context', context, ...flags]
  // It ends with 1 while something is not ready, and says the same.
  return (await run(process.execPath, args, { timeout: 60_000 }).catch((error: { stdout: string }) => error)).stdout
}

test('npx fairlead status shows what clients see of each service', async () => {
  const { token } = await newCustomer()
  await placeOrder(token)
  for (let n = 0; n < 20; n++) await http('GET', '/products')
  const { services } = await eventually(
    async () => JSON.parse(await status('--json')),
    found => {
      for (const { requestsPerSecond, p50, p99, failed, budgetLeft } of found.services) {
        expect(requestsPerSecond).toBeGreaterThan(0)
        expect(p99).toBeGreaterThanOrEqual(p50)
        expect(failed).toBeGreaterThanOrEqual(0)
        expect([typeof budgetLeft.failures, typeof budgetLeft.slowness]).toEqual(['number', 'number'])
      }
    },
    120_000,
  )
  expect(services.map(({ service }: { service: string }) => service)).toEqual(system.services.map(({ name }) => name))
  const screen = await status()
  for (const line of screen.trim().split('\n')) report(line)
  for (const { name } of system.services) expect(screen).toMatch(new RegExp(`[✓✗] +${name} +\\d+\\.\\d`))
})
