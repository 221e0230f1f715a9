import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyWithAddedService } from '../shop/support/added-service.ts'
import { runProgram } from '../support/run-node.ts'

let copy: string
beforeAll(async () => {
  copy = await copyWithAddedService()
  // As one's own, not a link: bundles name their inputs by where they really are.
  await rm(join(copy, 'node_modules'), { recursive: true })
  const linked = await runProgram('cp', ['-al', 'node_modules', copy])
  if (linked.code !== 0) await runProgram('cp', ['-a', 'node_modules', copy], { timeoutMs: 300_000 })
}, 310_000)
afterAll(() => rm(copy, { recursive: true, force: true }))

test('services more in the graph and npm run regenerate leave all tests of the kit and of the shop green, and theirs', async () => {
  const add = ['scripts/fairlead.mjs', 'add', 'service', 'gift-card', '--database', '--users', '--calls', 'inventory']
  expect(await runProgram('node', add, { cwd: copy })).toMatchObject({ code: 0 })
  expect(await readFile(join(copy, 'infra/system.ts'), 'utf8')).toContain('    giftCard,\n')
  for (const name of ['regenerate', 'check']) {
    const ended = await runProgram('npm', ['run', '--silent', name], { cwd: copy, timeoutMs: 120_000 })
    expect(ended, ended.stdout + ended.stderr).toMatchObject({ code: 0 })
  }
  const args = ['vitest', 'run', 'test/infra', 'test/scripts', 'test/chassis', 'test/shop', 'test/gift-card', 'test/inventory']
  // It adds the same service to a shop that has none.
  const but = ['--exclude', 'test/shop/adding-a-service.test.ts']
  const { code, stdout, stderr } = await runProgram(
    'npx',
    [...args, ...but, '--reporter', 'dot', '--reporter', './test/support/summary-reporter.ts'],
    {
      cwd: copy,
      timeoutMs: 900_000,
    },
  )
  const failed = stripVTControlCharacters(stdout + stderr)
    .split('\n')
    .filter(line => line.includes(' FAIL '))
  process.stderr.write(`    ${stdout.trim().split('\n').at(-1)}\n`)
  expect({ code, failed }).toEqual({ code: 0, failed: [] })
}, 1_200_000)
