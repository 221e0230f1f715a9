import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'

const run = promisify(execFile)

/** A copy of the sources with the service of docs/adding-a-service.md, and an edge to it. */
let dir: string

async function edit(path: string, ...changes: [from: string, to: string][]): Promise<void> {
  let source = await readFile(join(dir, path), 'utf8')
  for (const [from, to] of changes) {
    expect(source).toContain(from)
    source = source.replace(from, to)
  }
  await writeFile(join(dir, path), source)
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-adding-'))
  for (const path of ['services', 'infra', 'docs', 'package.json', 'tsconfig.json']) await cp(path, join(dir, path), { recursive: true })
  await symlink(resolve('node_modules'), join(dir, 'node_modules'))
  const page = await readFile('docs/adding-a-service.md', 'utf8')
  const files = [...page.matchAll(/^`(services\/[\w./-]+)`[^`]*?\n\n```ts\n([\s\S]*?)```/gm)].map(([, path = '', code = '']) => ({ path, code }))
  expect(files.map(({ path }) => path)).toEqual(['contract', 'service', 'routes', 'main'].map(name => `services/inventory/${name}.ts`))
  for (const { path, code } of files) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), code)
  }
  await edit(
    'infra/system.ts',
    ['[user, order]', '[user, order, inventory]'],
    ['import { order }', "import { inventory } from '../services/inventory/service.ts'\nimport { order }"],
  )
  await edit(
    'services/order/service.ts',
    ['calls: [', "calls: [{ to: inventory, mode: 'optional', attemptTimeoutMs: 300 }, "],
    ['import { orderContract }', "import { inventory } from '../inventory/service.ts'\nimport { orderContract }"],
  )
  await edit('services/order/main.ts', [
    "const user = await client('user')",
    `const user = await client('user')
    const inventory = await client('inventory')
    const stock = (scope: Parameters<typeof inventory.call>[0], sku: string) => inventory.call(scope, 'getStock', { params: { sku } })
    runtime.log.debug({ stock: typeof stock }, 'asks for stock')`,
  ])
}, 60_000)
afterAll(() => rm(dir, { recursive: true, force: true }))

test('what docs/adding-a-service.md says compiles', async () => {
  const config = { extends: './tsconfig.json', include: ['services', 'infra'] }
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
