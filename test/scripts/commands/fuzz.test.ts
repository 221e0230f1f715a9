import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runNode } from '../../support/run-node.ts'

const FAIRLEAD = resolve('scripts/fairlead.mjs')

const SERVICE = `import { defineService, text } from '@fairlead/chassis'
import { helloContract } from './contract.ts'

export const hello = defineService({
  name: 'hello',
  port: 8080,
  contract: helloContract,
  settings: { GREETING: text('how it greets') },
  secrets: { stripe: {} },
  timeoutMs: 500,
  maxConcurrency: 100,
  slo: { availability: 0.999, latency: { thresholdMs: 100, objective: 0.99 } },
  scale: { min: 2, max: 4 },
})
`

const START = `import { readFileSync } from 'node:fs'
import { implement } from '@fairlead/chassis'
import { hello } from './service.ts'

export const helloService = implement(hello, {
  start: ({ settings, secrets }) => {
    const text = \`\${settings.GREETING} \${readFileSync(\`\${secrets.stripe}/key\`, 'utf8')}\`
    return {
      handlers: {
        getHello: ({ params: { id } }) => ({ status: 200, body: { id, text } }),
        updateHello: ({ params: { id } }) => ({ status: 200, body: { id, text } }),
      },
    }
  },
})
`

/** Asks the service once, and says what it was called with. */
const PROGRAM = `#!${process.execPath}
const [, , ...args] = process.argv
if (args[0] === '--version') process.exit(0)
const { origin } = new URL(args[1])
const answer = await fetch(\`\${origin}/hello/01980000-0000-7000-8000-000000000000\`)
console.log(JSON.stringify({ args: args.slice(2), answer: await answer.json() }))
`

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fairlead-fuzz-test-'))
  expect(await runNode([FAIRLEAD, 'create', 'acme'], { cwd: folder })).toMatchObject({ code: 0 })
  await symlink(resolve('node_modules'), join(folder, 'acme/node_modules'))
  await writeFile(join(folder, 'acme/services/hello/service.ts'), SERVICE)
  await writeFile(join(folder, 'acme/services/hello/start.ts'), START)
  await writeFile(join(folder, 'program.mjs'), PROGRAM, { mode: 0o755 })
}, 60_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

const fuzz = (env: Record<string, string>, ...flags: string[]) =>
  runNode([FAIRLEAD, 'fuzz', '--program', join(folder, 'program.mjs'), '--max-examples', '7', ...flags], { cwd: join(folder, 'acme'), env })

describe('npx fairlead fuzz of a service with a required setting and a secret that has to be brought', () => {
  test('names the setting that lacks', async () => {
    expect(await fuzz({})).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('HELLO_GREETING is missing: it takes how it greets'),
    })
  })

  test('says where to put the secret', async () => {
    const { code, stderr } = await fuzz({ HELLO_GREETING: 'Hi' })
    expect(code).toBe(1)
    expect(stderr).toContain(
      `the secret stripe, which hello declares, is not there: put its files into ${join(folder, 'acme/.data/secrets/hello/stripe')}\n`,
    )
  })

  test.each([
    ['the data of start', '.data', []],
    ['a folder that is named', 'elsewhere', ['--data-dir', 'elsewhere']],
  ])('gives the service its setting, and its secret from %s', async (_, data, flags) => {
    const brought = join(folder, 'acme', data, 'secrets/hello/stripe')
    await mkdir(brought, { recursive: true })
    await writeFile(join(brought, 'key'), data)
    const { code, stdout, stderr } = await fuzz({ HELLO_GREETING: 'Hi' }, ...flags)
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('== hello') })
    expect(JSON.parse(stdout)).toEqual({
      args: ['--checks', 'all', '--max-examples', '7', '--include-operation-id', 'getHello'],
      answer: { id: '01980000-0000-7000-8000-000000000000', text: `Hi ${data}` },
    })
    expect(await readFile(join(brought, 'key'), 'utf8')).toBe(data)
  })
})
