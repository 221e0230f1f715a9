import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyWithAddedService } from '../shop/support/added-service.ts'
import { runProgram } from '../support/run-node.ts'

/**
 * The tests that see what is in the system. The others of the kit stand on another one (test/borders.test.ts), so that nothing that they
 * read is different here.
 */
const SEEING = [
  ...['borders.test.ts', 'contracts', 'shop', 'inventory', 'gift-card'],
  ...['commands', 'documented-commands', 'examples'].map(name => `scripts/${name}.test.ts`),
].map(path => `test/${path}`)

let copy: string
beforeAll(async () => {
  copy = await copyWithAddedService()
  // As one's own, not a link: bundles name their inputs by where they really are.
  await rm(join(copy, 'node_modules'), { recursive: true })
  const linked = await runProgram('cp', ['-al', 'node_modules', copy])
  if (linked.code !== 0) await runProgram('cp', ['-a', 'node_modules', copy], { timeoutMs: 300_000 })
}, 310_000)
afterAll(() => rm(copy, { recursive: true, force: true }))

test('services more in the graph and npm run regenerate leave every test that sees them green, and theirs are', async () => {
  const add = ['scripts/fairlead.mjs', 'add', 'service', 'gift-card', '--database', '--users', '--calls', 'inventory']
  expect(await runProgram('node', add, { cwd: copy })).toMatchObject({ code: 0 })
  expect(await readFile(join(copy, 'infra/system.ts'), 'utf8')).toContain('    giftCard,\n')
  for (const name of ['regenerate', 'check']) {
    const ended = await runProgram('npm', ['run', '--silent', name], { cwd: copy, timeoutMs: 120_000 })
    expect(ended, ended.stdout + ended.stderr).toMatchObject({ code: 0 })
  }
  // It adds the same service to a shop that has none. Vitest's --exclude says nothing to the projects of its configuration.
  await rm(join(copy, 'test/shop/adding-a-service.test.ts'))
  const args = ['vitest', 'run', ...SEEING, '--reporter', 'dot', '--reporter', './test/support/summary-reporter.ts']
  const { code, stdout, stderr } = await runProgram('npx', args, { cwd: copy, timeoutMs: 900_000 })
  const failed = stripVTControlCharacters(stdout + stderr)
    .split('\n')
    .filter(line => line.includes(' FAIL '))
  process.stderr.write(`    ${stdout.trim().split('\n').at(-1)}\n`)
  expect({ code, failed }).toEqual({ code: 0, failed: [] })
}, 1_200_000)
