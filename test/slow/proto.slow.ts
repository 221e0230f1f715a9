import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fromBinary, toJson } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { modelOf, schemaOf } from '@fairlead/chassis/grpc'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { protoFile, protoFiles } from '../../infra/kit/proto/files.ts'
import { assignNumbers } from '../../infra/kit/proto/numbers.ts'
import { type Contract, defineContract, strict } from '../../services/chassis/contract/contract.ts'
import type { ProtoNumbers, ServiceDefinition } from '../../services/chassis/contract/definition.ts'
import { timestamp } from '../../services/chassis/contract/ids.ts'
import { order } from '../../services/order/service.ts'
import { user } from '../../services/user/service.ts'
import { stock } from '../support/acme.ts'
import { buf, protoc, runTool } from '../support/proto-tools.ts'

const part = strict({ name: z.string(), weight: z.number().nullable() }).meta({ title: 'HTTP part', description: 'One of them' })
const tree = z
  .strictObject({
    name: z.string(),
    get inner() {
      return z.array(tree)
    },
  })
  .meta({ title: 'Tree' })

/** Of everything that a contract can say. */
const everything = {
  name: 'all-things',
  contract: defineContract({
    put2Things: {
      method: 'PUT',
      path: '/things/{orderId}',
      summary: 'Put',
      auth: 'none',
      params: z.object({ orderId: z.string() }),
      query: z.object({ limit: z.string().optional() }),
      body: strict({ orderId: z.string(), parts: z.array(part), byName: z.record(z.string(), part) }),
      responses: {
        200: { description: 'Put', body: z.array(part) },
        202: { description: 'Later' },
        207: { description: 'Some', body: z.record(z.string(), z.int()) },
      },
    },
    getThing: {
      method: 'GET',
      path: '/things',
      summary: 'Get',
      auth: 'none',
      responses: {
        200: {
          description: 'It',
          body: strict({
            at: timestamp,
            note: z.string().nullable(),
            count2: z.int().optional(),
            open: z.boolean(),
            any: z.unknown(),
            flags: z.array(z.enum(['on', '2nd-off'])),
            state: z.enum(['in-stock', 'gone']).meta({ title: 'Thing state' }).optional(),
            string: z.string(),
            message: z.string(),
            reserved: z.string(),
            constructor: z.string(),
            HTTPStatus: z.int(),
            tree,
            times: z.record(z.string(), timestamp),
          }),
        },
      },
    },
  }) as Contract,
}

const numbersOf = (service: Pick<ServiceDefinition, 'name' | 'contract'>): ProtoNumbers => assignNumbers(modelOf(service)).numbers
const SERVICES: [string, Pick<ServiceDefinition, 'name' | 'contract'>, ProtoNumbers][] = [
  ['user', user, user.grpc.numbers],
  ['order', order, numbersOf(order)],
  ['stock', stock, stock.grpc.numbers],
  ['all-things', everything, numbersOf(everything)],
]

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-proto-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  await mkdir(join(dir, 'proto'))
  await cp('proto/buf.yaml', join(dir, 'proto/buf.yaml'))
  return dir
}

async function write(dir: string, service: Pick<ServiceDefinition, 'name' | 'contract'>, kept: ProtoNumbers): Promise<void> {
  const path = protoFile(service)
  await mkdir(dirname(join(dir, path)), { recursive: true })
  await writeFile(join(dir, path), protoFiles(service, { kept }).files.get(path) as string)
}

describe.skipIf(!protoc)('protoc', () => {
  test.each(SERVICES)('makes of the .proto of %s the descriptor that the service is served with', async (_, service, numbers) => {
    const dir = await folder()
    await write(dir, service, numbers)
    const path = protoFile(service).replace('proto/', '')
    expect(await runTool(protoc as string[], ['-I', 'proto', '--descriptor_set_out=set.bin', path], dir)).toBeUndefined()
    const [made] = fromBinary(FileDescriptorSetSchema, await readFile(join(dir, 'set.bin'))).file
    const served = schemaOf(service, modelOf(service), numbers).file
    expect(made && toJson(FileDescriptorProtoSchema, made)).toEqual(toJson(FileDescriptorProtoSchema, served))
  })
})

describe.skipIf(!buf)('buf', () => {
  const lint = (dir: string) => runTool(buf as string[], ['lint'], dir)

  test('has nothing to say of the files of this repository', async () => {
    expect(await lint('proto')).toBeUndefined()
    expect(await runTool(buf as string[], ['format', '--diff', '--exit-code'], 'proto')).toBeUndefined()
  })

  test.each(SERVICES)('has nothing to say of the .proto of %s', async (_, service, numbers) => {
    const dir = await folder()
    await write(dir, service, numbers)
    expect(await lint(join(dir, 'proto'))).toBeUndefined()
    expect(await runTool(buf as string[], ['format', '--diff', '--exit-code'], join(dir, 'proto'))).toBeUndefined()
  })

  const withAnswer = (body: z.ZodType) => ({
    name: 'stock',
    contract: defineContract({
      getItem: { method: 'GET', path: '/items', summary: 'Get', auth: 'none', responses: { 200: { description: 'It', body } } },
    }) as Contract,
  })
  const item = (shape: z.ZodRawShape) => strict(shape).meta({ title: 'Item' })
  const FIRST = { sku: z.string(), left: z.int(), state: z.enum(['on', 'off']) }

  test.each<[string, z.ZodRawShape]>([
    ['nothing', FIRST],
    ['a new field', { ...FIRST, price: z.int() }],
    ['a new value', { ...FIRST, state: z.enum(['on', 'off', 'gone']) }],
    ['another order', { left: z.int(), sku: z.string(), state: z.enum(['off', 'on']) }],
    ['a removed field', { sku: z.string(), state: z.enum(['on', 'off']) }],
    ['another type', { ...FIRST, left: z.string() }],
    ['a removed value', { ...FIRST, state: z.enum(['on']) }],
    ['a field that need not be there', { ...FIRST, left: z.int().optional() }],
    ['another name', { sku: z.string(), remaining: z.int(), state: z.enum(['on', 'off']) }],
  ])('calls %s what fairlead proto calls it', async (_, shape) => {
    const [before, after] = [withAnswer(item(FIRST)), withAnswer(item(shape))]
    const [old, dir] = [await folder(), await folder()]
    const kept = numbersOf(before)
    await write(old, before, kept)
    await write(dir, after, kept)
    const said = await runTool(buf as string[], ['breaking', '--against', join(old, 'proto')], join(dir, 'proto'))
    expect(said !== undefined, said).toBe(protoFiles(after, { kept }).breaking.length > 0)
  })
})
