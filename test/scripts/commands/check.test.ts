import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { project } from '../../support/acme.ts'
import { runNode } from '../../support/run-node.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fairlead-check-'))
  await mkdir(join(root, 'infra'))
  await mkdir(join(root, 'services'))
  await symlink(resolve('node_modules'), join(root, 'node_modules'))
  await writeFile(join(root, 'package.json'), '{"version":"1.0.0","type":"module"}')
  return () => rm(root, { recursive: true, force: true })
})

const check = (...flags: string[]) => runNode([resolve('scripts/fairlead.mjs'), 'check', ...flags], { cwd: root, env: { RECHECK_BACKEND: 'pure' } })

interface Problem {
  about: string
  where?: string
  message: string
}

/** Two that call each other, a text without end, and a pattern that takes its time. */
const BROKEN = `
import { defineContract, defineService, defineSystem, strict } from '@fairlead/chassis'
import { defineApp } from '@fairlead/infra'
import { z } from 'zod'
const small = { maxConcurrency: 9, slo: { availability: 0.9, latency: { thresholdMs: 100, objective: 0.9 } }, scale: { min: 2, max: 2 } }
const responses = { 204: { description: 'Done' } }
const contract = defineContract({
  put: { method: 'PUT', path: '/it', summary: 'Put', auth: 'none', body: strict({ note: z.string() }), responses },
})
const calls = to => [{ to, mode: 'optional', attemptTimeoutMs: 300 }]
const a = defineService({ ...small, name: 'a', port: 8080, contract, timeoutMs: 500 })
const b = defineService({ ...small, name: 'b', port: 8081, contract: {}, timeoutMs: 500, calls: calls(a) })
a.calls.push(...calls(b))
export const app = defineApp({ system: defineSystem({ name: 'ab', services: [a, b] }), root: new URL('..', import.meta.url) })
`

test('all problems at once: of the graph, of lengths and of patterns, as lines or as JSON', async () => {
  await writeFile(join(root, 'infra/main.ts'), BROKEN)
  await writeFile(join(root, 'services/slow.ts'), 'export const slow = /^(a+)+$/\n')
  const { code, stdout, stderr } = await check('--json')
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
  const { works, problems } = JSON.parse(stdout)
  expect(works).toBe(false)
  const [graph, others] = [true, false].map(ofGraph => problems.filter(({ about }: Problem) => (about === 'graph') === ofGraph)) as [
    Problem[],
    Problem[],
  ]
  expect(graph).toContainEqual({ about: 'graph', message: expect.stringContaining('a -> b -> a') })
  expect(others).toEqual([
    { about: 'length', where: 'a.put body.note', message: 'the text has no longest length; give it .max(n) or .meta({ maxLength: n })' },
    { about: 'pattern', where: 'services/slow.ts:1', message: expect.stringMatching(/^\^\(a\+\)\+\$ takes exponential time of a text such as /) },
  ])
  const told = await check()
  expect({ code: told.code, stdout: told.stdout }).toEqual({ code: 1, stdout: '' })
  expect(told.stderr).toBe(
    [
      'error: the system cannot work as described:',
      ...graph.map(({ message }) => `  ${message}`),
      'what callers send could keep a service busy:',
      ...others.map(({ where, message }) => `  ${where}: ${message}`),
      '',
    ].join('\n'),
  )
})

test('a system without problems works', async () => {
  await writeFile(join(root, 'infra/main.ts'), `export { app } from ${JSON.stringify(join(project.root, 'infra/main.ts'))}\n`)
  expect(await check('--json')).toMatchObject({ code: 0, stdout: `${JSON.stringify({ works: true, problems: [] }, null, 2)}\n`, stderr: '' })
})
