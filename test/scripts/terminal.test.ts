import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

const run = promisify(execFile)

/** A command whose main is the given code, in a process of its own. */
async function command(main: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const program = `
    import { CommandError, createSteps, runCommand, say } from './scripts/terminal.ts'
    await runCommand('npm run test', async signal => { ${main} })`
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

  test('that is interrupted says so and ends with 130', async () => {
    const { code, stderr } = await command(
      "process.kill(process.pid, 'SIGINT'); while (!signal.aborted) await new Promise(resolve => setTimeout(resolve, 10)); signal.throwIfAborted(); return 0",
    )
    expect([code, stderr]).toEqual([130, '\nnpm run test was interrupted; what is there stays, and npm run test again goes on from it\n'])
  })
})
