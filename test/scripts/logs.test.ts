import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { system } from '../../infra/system.ts'

const logs = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', 'scripts/logs.ts', ...args], { timeout: 20_000 }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  )

const names = system.services.map(({ name }) => name).join(', ')

test.each([
  [[], `error: the service is missing: name one of ${names}`],
  [['ordr'], `error: there is no service 'ordr': name one of ${names}`],
  [['order', 'user'], "error: 'user' is too much: name one service"],
  [['order', '--lines', 'x'], 'error: --lines x is not a whole number from 0 to 100000'],
  [['order', '--colour'], "error: Unknown option '--colour'; see --help"],
])('npm run logs -- %j is refused in one line that names it', async (args, line) => {
  expect(await logs(...args)).toEqual({ code: 2, stdout: '', stderr: `${line}\n` })
})

test.each([[['--help']], [['order', '--help']]])('npm run logs -- %j tells the options and asks nobody', async args => {
  const { code, stdout, stderr } = await logs(...args)
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toContain('npm run logs -- SERVICE [options]')
})
