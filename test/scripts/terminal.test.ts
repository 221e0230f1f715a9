import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

const run = promisify(execFile)

/** A command whose main is the given code, in a process of its own. */
async function command(main: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const program = `
    import { setTimeout as sleep } from 'node:timers/promises'
    import { CommandError, createSteps, runCommand, say } from './scripts/terminal.ts'
    const interrupt = () => process.kill(process.pid, 'SIGINT')
    const forever = () => new Promise(() => setInterval(() => {}, 1_000))
    await runCommand('npm run test', async interrupts => { ${main} })`
  const ended = await run(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module-typescript', '-e', program]).catch(
    error => error,
  )
  return { code: ended.code ?? 0, stdout: ended.stdout, stderr: ended.stderr }
}

describe('a command', () => {
  test('ends with what its main returns', async () => {
    expect(await command('return 3')).toEqual({ code: 3, stdout: '', stderr: '' })
  })

  test('says a failure that was foreseen in one line, and what to do in others', async () => {
    expect(
      await command(
        "throw new CommandError('the port is taken', { advice: 'who holds it?', commands: ['docker ps', 'lsof'], page: 'https://example.org' })",
      ),
    ).toEqual({
      code: 1,
      stdout: '',
      stderr: 'error: the port is taken\n  check: who holds it?\n  do: docker ps\n  or: lsof\n  see: https://example.org\n',
    })
  })

  test('ends with the exit code of a wrong flag', async () => {
    expect((await command("throw Object.assign(new CommandError('no such flag'), { exitCode: 2 })")).code).toBe(2)
  })

  test('shows where a defect of its own is', async () => {
    expect((await command("throw new TypeError('x is not a function')")).stderr).toMatch(/^error: TypeError: x is not a function\n {4}at /)
  })

  test('says each step with its time, on standard error', async () => {
    const { stdout, stderr } = await command(
      "const { step } = createSteps(); await step('images', async () => 2, built => built + ' built'); return 0",
    )
    expect([stdout, stderr]).toEqual(['', expect.stringMatching(/^✓ images: 2 built \d+\.\d s\n$/)])
  })

  test.each([
    ['puts nothing in order', 'interrupt(); await forever()', ''],
    [
      'has put things in order',
      "const signal = interrupts(); interrupt(); while (!signal.aborted) await sleep(5); say('tidied'); return 0",
      'tidied\n',
    ],
    ['gives up what it does', 'const signal = interrupts(); interrupt(); await sleep(60_000, undefined, { signal })', ''],
    ['waits in a step', "const { step } = createSteps(interrupts()); interrupt(); await step('for ever', forever)", ''],
    [
      'hears of one Ctrl-C from its terminal and from npm',
      "const signal = interrupts(); interrupt(); while (!signal.aborted) await sleep(5); interrupt(); await sleep(50); say('tidied'); return 0",
      'tidied\n',
    ],
    [
      'is interrupted a second time while it puts things in order',
      'const signal = interrupts(); interrupt(); while (!signal.aborted) await sleep(5); setTimeout(interrupt, 700); await forever()',
      '',
    ],
  ])('that is interrupted and %s says so and ends with 130', async (_, main, said) => {
    expect(await command(main)).toEqual({ code: 130, stdout: '', stderr: `${said}\nnpm run test was interrupted\n` })
  })
})
