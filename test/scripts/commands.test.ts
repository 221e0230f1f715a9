import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { type Ended, runNode } from '../support/run-node.ts'

const { scripts } = packageJson as { scripts: Record<string, string> }
/** Commands of ours, by the program that they run. */
const programs = Object.entries(scripts).flatMap(([name, line]) => {
  const [, program] = /^(?:\w+=\w+ )?node .*?(\S+\.ts)$/.exec(line) ?? []
  return program ? [{ name, program }] : []
})

const run = (program: string, args: string[] = [], options: { cwd?: string; env?: Record<string, string> } = {}): Promise<Ended> =>
  runNode([resolve(program), ...args], options)

describe.each(programs)('npm run $name', { concurrent: true }, ({ program }) => {
  test('--help tells the options and does nothing', async () => {
    const { code, stdout, stderr } = await run(program, ['--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^npm .*\n\n[\s\S]* {2}--help +this text\n/)
  })

  test('refuses a flag that it does not have in one line that names it', async () => {
    const { code, stdout, stderr } = await run(program, ['--colour'])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^[^\n]*'--colour'[^\n]*\n$/)
  })
})

test('every command is looked at', () => {
  expect(programs.map(({ name }) => name)).toEqual(expect.arrayContaining(['start', 'bench', 'fuzz', 'synth', 'images', 'charts', 'down']))
})

/** A folder to work in where a file is in the place of a folder: nothing can be written there, whoever runs this. */
async function blocked(name: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-blocked-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  await writeFile(join(dir, name), '')
  await writeFile(join(dir, 'package.json'), '{"version":"0.1.0"}')
  await symlink(resolve('services'), join(dir, 'services'))
  return dir
}

describe.each([
  ['synth', 'infra/main.ts', 'dist'],
  ['diagram', 'scripts/diagram.ts', 'docs'],
  ['charts', 'scripts/charts.ts', 'charts'],
])('npm run %s', (_, program, folder) => {
  test(`says in one line that ${folder} cannot be written`, async () => {
    const cwd = await blocked(folder)
    const { code, stderr } = await run(program, [], { cwd, env: { CDK8S_OUTDIR: join(cwd, 'dist', 'x') } })
    expect(code).toBe(1)
    expect(stderr).toMatch(new RegExp(`^error: [A-Z]+: [^\n]*${folder}[^\n]*\n$`))
  })
})

describe('npm run images', () => {
  const images = (path: string) => run('scripts/images.ts', [], { env: { PATH: path } })

  test('says that docker is not installed, and how to get it', async () => {
    const { code, stderr } = await images('/nowhere')
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'error: docker is not installed, or not on the PATH\n  look further: https://docs.docker.com/engine/install\n',
    })
  })

  test('says that its daemon does not answer', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-docker-'))
    onTestFinished(() => rm(dir, { recursive: true, force: true }))
    await mkdir(join(dir, 'bin'))
    await writeFile(join(dir, 'bin/docker'), '#!/bin/sh\necho "Cannot connect to the Docker daemon" >&2\nexit 1\n', { mode: 0o755 })
    const { code, stderr } = await images(`${join(dir, 'bin')}:/bin:/usr/bin`)
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'error: docker version --format failed: Cannot connect to the Docker daemon\n' })
  })
})

test.each([
  ['test/bench/main.ts', ['--only', 'product'], "--only 'product' is none of products, orders, process, stages, collector"],
  ['test/bench/main.ts', ['--rounds', 'many'], '--rounds many is not a whole number from 1 to 1000'],
  ['test/bench/main.ts', ['--seconds', '0'], '--seconds 0 is not a number above 0, at most 600'],
  ['scripts/fuzz.ts', ['--max-examples', 'all'], '--max-examples all is not a whole number from 1 to 1000000'],
  ['scripts/fuzz.ts', ['--program', '/no/schemathesis'], '/no/schemathesis is not installed: pip install schemathesis, or name it with --program'],
  ['scripts/outbox.ts', [], 'the command is missing: name one of list, retry, drop; see --help'],
])('%s %j is refused in one line', async (program, args, line) => {
  expect(await run(program, args)).toEqual({ code: 2, stdout: '', stderr: `error: ${line}\n` })
})
