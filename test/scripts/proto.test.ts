import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { project } from '../support/acme.ts'
import { fairlead } from '../support/fairlead.ts'

const PROTO = 'proto/stock/v1/stock.proto'
const NUMBERS = 'services/stock/proto.ts'
const SERVICE = 'services/stock/service.ts'

/** The repository of acme, which this may write to. */
async function repository(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-proto-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  await cp(project.root, dir, { recursive: true })
  await symlink(resolve('node_modules'), join(dir, 'node_modules'))
  return dir
}

const proto = (cwd: string, ...args: string[]) => fairlead(['proto', ...args], { cwd })

async function edit(path: string, before: string, after: string): Promise<void> {
  const text = await readFile(path, 'utf8')
  expect(text).toContain(before)
  await writeFile(path, text.replace(before, after))
}

describe('fairlead proto', { timeout: 60_000 }, () => {
  test('writes the .proto and the numbers of each service with grpc, and has nothing to say afterwards', async () => {
    const dir = await repository()
    expect(await proto(dir)).toEqual({ code: 0, stdout: `${PROTO}\n${NUMBERS}\n`, stderr: '' })
    expect(await readFile(join(dir, PROTO), 'utf8')).toContain('service StockService {')
    expect(await proto(dir, '--check')).toMatchObject({ code: 0 })
    await rm(join(dir, PROTO))
    expect(await proto(dir, '--check')).toEqual({
      code: 1,
      stdout: '',
      stderr: `error: not what the contracts give: ${PROTO}; npx fairlead proto writes them\n`,
    })
    expect(JSON.parse((await proto(dir, '--check', '--json')).stdout)).toEqual([
      { service: 'stock', files: [PROTO, NUMBERS], drifted: [PROTO], breaking: [], wrong: [] },
    ])
  })

  test('begins with a service that is named, and says what its definition lacks', async () => {
    const dir = await repository()
    const { code, stdout, stderr } = await proto(dir, 'hello')
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'proto/hello/v1/hello.proto\nservices/hello/proto.ts\n' })
    expect(stderr).toBe(
      "Next: add to services/hello/service.ts\n  import { helloProto } from './proto.ts'\n  grpc: { port: 8083, numbers: helloProto },\n",
    )
    expect(await proto(dir, 'hello', '--check')).toMatchObject({ code: 0 })
  })

  test('refuses a change that breaks somebody, and writes it with --breaking', async () => {
    const dir = await repository()
    await proto(dir)
    await edit(join(dir, SERVICE), 'body: strict({ left: z.int() })', 'body: strict({ left: z.string(), size: z.int() })')
    await edit(join(dir, SERVICE), '    getItem: {', '    findItem: {')
    const refused = await proto(dir)
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toBe(`error: whoever has the messages of before could not go on; npx fairlead proto --breaking writes it all the same:
  stock: ReserveOk.left was int64 and is string
  stock: the method GetItem is gone
  stock: the message GetItemRequest is gone
  stock: the message GetItemResponse is gone
`)
    expect(await proto(dir, '--breaking')).toMatchObject({ code: 0 })
    expect(await readFile(join(dir, PROTO), 'utf8')).toContain('message ReserveOk {\n  reserved 1;\n  string left = 2;\n  int64 size = 3;\n}')
    expect(await readFile(join(dir, NUMBERS), 'utf8')).toContain("GetItemRequest: {\n      numbers: [1],\n      names: ['sku'],\n    },")
    expect(await proto(dir, '--check')).toMatchObject({ code: 0 })
  })

  test('refuses a number that somebody changed by hand', async () => {
    const dir = await repository()
    await proto(dir)
    await edit(join(dir, PROTO), 'string sku = 2;', 'string sku = 3;')
    expect(await proto(dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('\n  stock: ReserveRequest.sku is 2 in proto.ts and 3 in the .proto\n'),
    })
  })

  test('refuses two fields with one number, --breaking or not', async () => {
    const dir = await repository()
    await proto(dir)
    await edit(join(dir, NUMBERS), "sku: [2, 'string']", "sku: [1, 'string']")
    expect(await proto(dir, '--breaking')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('\n  stock: ReserveRequest.sku has number 1, which is that of id\n'),
    })
  })

  test('names a service that the system does not have', async () => {
    expect(await proto(project.root, 'nobody')).toEqual({
      code: 2,
      stdout: '',
      stderr: 'error: the system has no service nobody; it has hello, stock, booking\n',
    })
  })
})
