import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { project } from '../support/acme.ts'
import { type Ended, runNode } from '../support/run-node.ts'

const { scripts } = packageJson as { scripts: Record<string, string> }
/** Commands of ours, by the program that they run. */
const programs = Object.entries(scripts).flatMap(([name, line]) => {
  const [, program] = /^(?:\w+=\w+ )?node .*?(\S+\.ts|scripts\/fairlead\.mjs \w+)$/.exec(line) ?? []
  return program ? [{ name, program }] : []
})

const run = (program: string, args: string[] = [], options: { cwd?: string; env?: Record<string, string> } = {}): Promise<Ended> => {
  const [file = '', ...words] = program.split(' ')
  return runNode([resolve(file), ...words, ...args], options)
}
const fairlead = (...args: string[]) => run('scripts/fairlead.mjs', args)

describe.each(programs)('npm run $name', { concurrent: true }, ({ program }) => {
  test('--help tells the options and does nothing', async () => {
    const { code, stdout, stderr } = await run(program, ['--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^Usage: (fairlead|npm run) .*\n\n[\s\S]* {2}-h, --help +show this text\n\nExamples:\n.*(npx fairlead|npm run) /)
  })

  test('refuses a flag that it does not have in one line that names it', async () => {
    const { code, stdout, stderr } = await run(program, ['--colour'])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^[^\n]*'--colour'[^\n]*\n$/)
  })
})

describe('fairlead', () => {
  test('lists its commands when none is named, and says by 2 that one is missing', async () => {
    const { code, stdout, stderr } = await fairlead()
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^Usage: fairlead COMMAND[\s\S]*\n {2}down +Delete /)
    expect(await fairlead('--help')).toEqual({ code: 0, stdout: stderr, stderr: '' })
  })

  test.each([
    [['dwon'], "unknown command 'dwon' (Did you mean down?)"],
    [['toString'], "unknown command 'toString'; see fairlead --help"],
    [['down', '--nmae', 'x'], "unknown option '--nmae' (Did you mean --name?)"],
    [['down', '--name'], "option '--name <name>' argument missing; see fairlead down --help"],
    [['diagram', 'all'], "too many arguments for 'diagram'. Expected 0 arguments but got 1: all; see fairlead diagram --help"],
    [['diagram', '--svg', '--mermaid'], "option '--svg' cannot be used with option '--mermaid'; see fairlead diagram --help"],
  ])('refuses %j in one line', async (args, line) => {
    expect(await fairlead(...args)).toEqual({ code: 2, stdout: '', stderr: `error: ${line}\n` })
  })

  test('tells its version', async () => {
    expect(await fairlead('--version')).toEqual({ code: 0, stdout: `${packageJson.version}\n`, stderr: '' })
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
  for (const folder of ['services', 'infra']) await symlink(join(project.root, folder), join(dir, folder))
  return dir
}

describe.each([
  ['synth', join(project.root, 'infra/main.ts'), 'dist'],
  ['diagram', 'scripts/fairlead.mjs diagram', 'docs'],
  ['charts', 'scripts/fairlead.mjs charts', 'charts'],
])('npm run %s', (_, program, folder) => {
  test(`says in one line that ${folder} cannot be written`, async () => {
    const cwd = await blocked(folder)
    const { code, stderr } = await run(program, [], { cwd, env: { CDK8S_OUTDIR: join(cwd, 'dist', 'x') } })
    expect(code).toBe(1)
    expect(stderr).toMatch(new RegExp(`^error: [A-Z]+: [^\n]*${folder}[^\n]*\n$`))
  })
})

describe('npm run images', () => {
  const images = (path: string) => run('scripts/fairlead.mjs images', [], { env: { PATH: path } })

  test('says that docker is not installed, and how to get it', async () => {
    const { code, stderr } = await images('/nowhere')
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'error: docker is not installed, or not on the PATH\n  see: https://docs.docker.com/engine/install\n',
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
  [
    'test/bench/main.ts',
    ['--only', 'product'],
    "--only 'product' is none of ready, products, orders, overload, calls, collector, stages, growth, memory",
  ],
  [
    'test/bench/main.ts',
    ['--rounds', 'many'],
    "option '--rounds <n>' argument 'many' is invalid. It takes a whole number from 1 to 1000; see npm run bench --help",
  ],
  ['test/bench/main.ts', ['--seconds', '0'], '--seconds 0 is not a number above 0, at most 600'],
  [
    'fairlead fuzz',
    ['--max-examples', 'all'],
    "option '--max-examples <n>' argument 'all' is invalid. It takes a whole number from 1 to 1000000; see fairlead fuzz --help",
  ],
  ['fairlead fuzz', ['--program', '/no/schemathesis'], '/no/schemathesis is not installed: pip install schemathesis, or name it with --program'],
  ['fairlead outbox', [], "missing required argument 'action'; see fairlead outbox --help"],
  ['fairlead outbox', ['retyr'], "'retyr' is no action of outbox: list, retry or drop"],
  ['fairlead deploy', ['--contxt', 'x'], "unknown option '--contxt' (Did you mean --context?)"],
  ['fairlead deploy', [], '--context is missing: name the cluster\n  do: kubectl config get-contexts'],
  [
    'fairlead up',
    ['--workers', '10'],
    "option '--workers <count>' argument '10' is invalid. It takes a whole number from 0 to 9; see fairlead up --help",
  ],
])('%s %j is refused in one line', async (program, args, line) => {
  expect(await run(program.replace('fairlead', 'scripts/fairlead.mjs'), args)).toEqual({ code: 2, stdout: '', stderr: `error: ${line}\n` })
})
