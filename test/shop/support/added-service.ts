import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { copyRepository } from '../../support/repository-copy.ts'

async function edit(path: string, ...changes: [from: string, to: string][]): Promise<void> {
  let source = await readFile(path, 'utf8')
  for (const [from, to] of changes) {
    if (!source.includes(from)) throw new Error(`${path} has no ${from}`)
    source = source.replace(from, to)
  }
  await writeFile(path, source)
}

/** The files that docs/adding-a-service.md prints. */
export async function printedFiles(): Promise<Map<string, string>> {
  const page = await readFile('docs/adding-a-service.md', 'utf8')
  return new Map(
    [...page.matchAll(/^`((?:services|test)\/[\w./-]+)`[^`]*?\n\n```ts\n([\s\S]*?)```/gm)].map(([, path = '', code = '']) => [path, code]),
  )
}

/** @returns the folder of a copy of this repository with the service of docs/adding-a-service.md, and an edge to it from order */
export async function copyWithAddedService(): Promise<string> {
  const dir = await copyRepository()
  for (const [path, code] of await printedFiles()) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), code)
  }
  await edit(
    join(dir, 'infra/system.ts'),
    ['    order,\n', '    order,\n    inventory,\n'],
    ['import { order }', "import { inventory } from '../services/inventory/service.ts'\nimport { order }"],
  )
  await edit(
    join(dir, 'services/order/service.ts'),
    ['calls: [', "calls: [{ to: inventory, mode: 'optional', attemptTimeoutMs: 300 }, "],
    ['import { orderContract }', "import { inventory } from '../inventory/service.ts'\nimport { orderContract }"],
  )
  await edit(
    join(dir, 'services/order/start.ts'),
    ['({ runtime, database,', '({ runtime, clients, database,'],
    [
      '  const states = ',
      `  const stock = (scope: Parameters<typeof clients.inventory.call>[0], sku: string) => clients.inventory.call(scope, 'getStock', { params: { sku } })
  runtime.log.debug({ stock: typeof stock }, 'asks for stock')
  const states = `,
    ],
  )
  return dir
}
