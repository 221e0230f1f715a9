import { expect, test } from 'vitest'
import { system } from '../support/acme.ts'
import { fairlead } from '../support/fairlead.ts'

const logs = (...args: string[]) => fairlead(['logs', ...args], { timeoutMs: 20_000 })

const names = system.services.map(({ name }) => name).join(', ')

test.each([
  [[], "error: missing required argument 'service'; see fairlead logs --help"],
  [['stok'], `error: there is no service 'stok': name one of ${names}`],
  [['stock', 'hello'], "error: too many arguments for 'logs'. Expected 1 argument but got 2: stock, hello; see fairlead logs --help"],
  [
    ['stock', '--lines', 'x'],
    "error: option '--lines <count>' argument 'x' is invalid. It takes a whole number from 0 to 100000; see fairlead logs --help",
  ],
  [['stock', '--colour'], "error: unknown option '--colour'; see fairlead logs --help"],
])('npx fairlead logs %j is refused in one line that names it', async (args, line) => {
  expect(await logs(...args)).toEqual({ code: 2, stdout: '', stderr: `${line}\n` })
})

test.each([[['--help']], [['stock', '--help']]])('npx fairlead logs %j tells the options and asks nobody', async args => {
  const { code, stdout, stderr } = await logs(...args)
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toContain('Usage: fairlead logs [options] <service>')
})
