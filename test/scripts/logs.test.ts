import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { system } from '../../infra/system.ts'

const logs = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', 'scripts/fairlead.mjs', 'logs', ...args], { timeout: 20_000 }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  )

const names = system.services.map(({ name }) => name).join(', ')

test.each([
  [[], "error: missing required argument 'service'; see fairlead logs --help"],
  [['ordr'], `error: there is no service 'ordr': name one of ${names}`],
  [['order', 'user'], "error: too many arguments for 'logs'. Expected 1 argument but got 2: order, user; see fairlead logs --help"],
  [
    ['order', '--lines', 'x'],
    "error: option '--lines <count>' argument 'x' is invalid. It takes a whole number from 0 to 100000; see fairlead logs --help",
  ],
  [['order', '--colour'], "error: unknown option '--colour'; see fairlead logs --help"],
])('npx fairlead logs %j is refused in one line that names it', async (args, line) => {
  expect(await logs(...args)).toEqual({ code: 2, stdout: '', stderr: `${line}\n` })
})

test.each([[['--help']], [['order', '--help']]])('npx fairlead logs %j tells the options and asks nobody', async args => {
  const { code, stdout, stderr } = await logs(...args)
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toContain('Usage: fairlead logs [options] <service>')
})
