import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { copyWithAddedService, printedFiles } from './support/added-service.ts'

const run = promisify(execFile)

let dir: string
beforeAll(async () => {
  dir = await copyWithAddedService()
}, 60_000)
afterAll(() => rm(dir, { recursive: true, force: true }))

test('docs/adding-a-service.md prints each of its files', async () => {
  const names = [...(await printedFiles()).keys()]
  expect(names).toEqual([...['contract', 'service', 'start', 'main'].map(name => `services/inventory/${name}.ts`), 'test/inventory.test.ts'])
})

test('what docs/adding-a-service.md says compiles', async () => {
  const config = { extends: './tsconfig.json', include: ['services', 'infra', 'test/inventory.test.ts'] }
  await writeFile(join(dir, 'tsconfig.page.json'), JSON.stringify(config))
  const { stdout } = await run(join('node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.page.json'], { cwd: dir }).catch(error => error)
  expect(stdout).toBe('')
}, 120_000)

test('and becomes all that a service needs, with an edge', async () => {
  await run(process.execPath, ['--disable-warning=ExperimentalWarning', 'infra/main.ts'], {
    cwd: dir,
    env: { PATH: process.env.PATH, IMAGE_TAG: '1' },
  })
  const objects = parseAllDocuments(await readFile(join(dir, 'dist', '0000-shop.k8s.yaml'), 'utf8')).map(document => document.toJS())
  const kinds = objects.filter(({ metadata }) => metadata.name.startsWith('inventory')).map(({ kind }) => kind)
  for (const kind of [
    'ServiceAccount',
    'Deployment',
    'Service',
    'HorizontalPodAutoscaler',
    'PodDisruptionBudget',
    'NetworkPolicy',
    'ServiceMonitor',
    'PrometheusRule',
  ])
    expect(kinds).toContain(kind)
  const order = objects.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'order')
  expect(JSON.stringify(order)).toContain('INVENTORY_IDENTITY_FILE')
}, 60_000)
