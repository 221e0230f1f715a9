import { create, createFileRegistry, type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../../services/chassis/contract/contract.ts'
import { timestamp } from '../../../../services/chassis/contract/ids.ts'
import { registryOf } from '../../../../services/chassis/grpc/fields.ts'
import { frame } from '../../../../services/chassis/grpc/frame.ts'
import { REFLECTION_FILES } from '../../../../services/chassis/grpc/reflection-files.ts'
import { CODES } from '../../../../services/chassis/grpc/status.ts'
import { startPair } from '../../../support/protocols.ts'
import { openRpc, type RpcAsk } from '../../../support/raw-h2.ts'

const thing = strict({ name: z.string(), madeAt: timestamp, colour: z.enum(['red', 'blue']), more: z.unknown() })
const contract = defineContract({
  getThing: { method: 'GET', path: '/thing', summary: 'A thing', auth: 'workload', responses: { 200: { description: 'It', body: thing } } },
})
const registry = registryOf(...REFLECTION_FILES)

async function start(version = 'v1') {
  const { port } = await startPair('grpc', contract, { getThing: () => ({}) as never }, { verifiers: { workload: async () => ({}) as never } })
  const { ask } = openRpc(port)
  const message = (kind: string) => registry.getMessage(`grpc.reflection.${version}.ServerReflection${kind}`) as DescMessage
  const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`
  const raw = (asked: RpcAsk) => ask(path, asked)
  const request = (kind: string, value: unknown) =>
    frame(toBinary(message('Request'), create(message('Request'), { messageRequest: { case: kind, value } } as never)))
  // biome-ignore lint/suspicious/noExplicitAny: an answer is one of four kinds
  const reflect = async (...asked: (readonly [string, unknown])[]): Promise<any[]> => {
    const { status, body } = await raw({ body: Buffer.concat(asked.map(([kind, value]) => request(kind, value))) })
    expect(status).toBe(CODES.OK)
    const answers: unknown[] = []
    for (let rest = body; rest.length > 0; rest = rest.subarray(5 + rest.readUInt32BE(1)))
      answers.push(
        (fromBinary(message('Response'), rest.subarray(5, 5 + rest.readUInt32BE(1))) as unknown as { messageResponse: unknown }).messageResponse,
      )
    return answers
  }
  return { raw, reflect, request }
}

describe.each(['v1', 'v1alpha'])('grpc.reflection.%s', version => {
  test('lists the services', async () => {
    const { reflect } = await start(version)
    const [{ value }] = await reflect(['listServices', ''])
    expect(value.service.map(({ name }: { name: string }) => name)).toEqual([
      'callee.v1.CalleeService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ])
  })

  test.each([
    'callee.v1.CalleeService',
    'callee.v1.CalleeService.GetThing',
    '.callee.v1.GetThingRequest',
    'callee.v1.GetThingResponse.ok',
    'grpc.health.v1.HealthCheckResponse.SERVING',
    'google.protobuf.Timestamp',
    // With which tools read the details of a status.
    'google.rpc.ErrorInfo',
    'google.rpc.BadRequest.FieldViolation',
    `grpc.reflection.${version}.ServerReflection`,
  ])('tells the file of %s with all that it imports', async symbol => {
    const { reflect } = await start(version)
    const [{ value }] = await reflect(['fileContainingSymbol', symbol])
    const file = value.fileDescriptorProto.map((bytes: Uint8Array) => fromBinary(FileDescriptorProtoSchema, bytes)).reverse()
    const told = createFileRegistry(create(FileDescriptorSetSchema, { file }))
    const parts = symbol.replace(/^\./, '').split('.')
    const found = [parts, parts.slice(0, -1)].some(names => told.get(names.join('.')) !== undefined)
    expect(found).toBe(true)
  })

  test('tells a file by its name', async () => {
    const { reflect } = await start(version)
    const [{ value }] = await reflect(['fileByFilename', 'callee/v1/callee.proto'])
    expect(value.fileDescriptorProto).toHaveLength(3)
  })

  test('says for each request of a stream what is not there, and goes on', async () => {
    const { reflect } = await start(version)
    const answers = await reflect(
      ['fileByFilename', '../../etc/passwd'],
      ['fileContainingSymbol', '__proto__'],
      ['allExtensionNumbersOfType', 'none.None'],
      ['allExtensionNumbersOfType', 'google.protobuf.Timestamp'],
      ['fileContainingExtension', { containingType: 'google.protobuf.Timestamp', extensionNumber: 7 }],
      ['nothing', undefined],
      ['listServices', '*'],
    )
    expect(answers.map(({ case: kind, value }) => [kind, value.errorCode])).toEqual([
      ['errorResponse', CODES.NOT_FOUND],
      ['errorResponse', CODES.NOT_FOUND],
      ['errorResponse', CODES.NOT_FOUND],
      ['allExtensionNumbersResponse', undefined],
      ['errorResponse', CODES.NOT_FOUND],
      ['errorResponse', CODES.INVALID_ARGUMENT],
      ['listServicesResponse', undefined],
    ])
  })
})

describe('a stream of reflection', () => {
  test.each([
    ['what is no message', frame(Buffer.from([0x1a, 0xff])), 'INVALID_ARGUMENT'],
    ['a message cut off', Buffer.from([0, 0, 0, 0, 9, 1]), 'INVALID_ARGUMENT'],
    ['a message that is too long', Buffer.from([0, 0, 0, 0x10, 0x01]), 'RESOURCE_EXHAUSTED'],
    ['a compressed one', Buffer.from([1, 0, 0, 0, 0]), 'UNIMPLEMENTED'],
  ] as const)('ends at %s with its status', async (_, body, code) => {
    const { raw, request } = await start()
    const reply = await raw({ body: Buffer.concat([request('listServices', ''), body]) })
    expect(reply).toMatchObject({ http: 200, status: CODES[code] })
    expect(reply.body.length).toBeGreaterThan(0)
  })

  test('carries 100 messages at most', async () => {
    const { raw, request } = await start()
    const one = request('listServices', '')
    expect(await raw({ body: Buffer.concat(Array.from({ length: 100 }, () => one)) })).toMatchObject({ status: CODES.OK })
    expect(await raw({ body: Buffer.concat(Array.from({ length: 101 }, () => one)) })).toMatchObject({ status: CODES.RESOURCE_EXHAUSTED })
  })

  test('is one of 8 per source', async () => {
    const { raw, request } = await start()
    for (let i = 0; i < 8; i++) void raw({ body: request('listServices', ''), open: true })
    expect(await raw({ body: request('listServices', '') })).toMatchObject({ status: CODES.RESOURCE_EXHAUSTED })
  })
})
