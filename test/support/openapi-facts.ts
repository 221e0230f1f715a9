import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Contract } from '../../services/chassis/contract/contract.ts'
import { openApi, openApiOperation, problemCodes } from '../../services/chassis/contract/openapi.ts'

// biome-ignore lint/suspicious/noExplicitAny: a document is looked into at every level
type Json = any

const info = { title: 'a', version: '1', description: 'A service.' }
const METHODS = ['get', 'post', 'put', 'patch', 'delete']

/** The document of a contract, as it is served. */
export const documentOf = (contract: Contract): Json => JSON.parse(JSON.stringify(openApi(contract, info)))

const operationsOf = (document: Json): { path: string; method: string; operation: Json }[] =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item as Json).map(([method, operation]) => ({ path, method, operation: operation as Json })),
  )

/** Every `content` entry of a document: its schema and example. */
const contentsOf = (document: Json): { where: string; mediaType: string; schema: Json; example: Json }[] =>
  operationsOf(document).flatMap(({ method, path, operation }) =>
    [['request', operation.requestBody], ...Object.entries(operation.responses)].flatMap(([part, { content = {} } = {}]) =>
      Object.entries(content as Json).map(([mediaType, media]) => ({ where: `${method} ${path} ${part}`, mediaType, ...(media as Json) })),
    ),
  )

function refsOf(value: Json): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, member]) => (name === '$ref' ? [member as string] : refsOf(member)))
}

const resolve = (document: Json, ref: string): Json =>
  ref
    .slice(2)
    .split('/')
    .reduce((value, name) => value?.[name.replaceAll('~1', '/').replaceAll('~0', '~')], document)

/** What holds for the document of every contract. */
export const describeDocument = (name: string, contract: Contract) =>
  describe(`openApi(${name})`, () => {
    const document = documentOf(contract)

    test('has what OpenAPI 3.1 requires at the top', () => {
      expect(document.openapi).toMatch(/^3\.1\.\d+$/)
      expect(document.info).toMatchObject({ title: 'a', version: '1', license: { name: 'Apache-2.0' } })
      expect(Object.keys(document).sort()).toEqual(['components', 'info', 'openapi', 'paths', 'servers'])
    })

    test('has each operation of the contract once, under its own name', () => {
      const operations = operationsOf(document)
      expect(operations.map(({ operation }) => operation.operationId).sort()).toEqual(Object.keys(contract).sort())
      for (const { path, method, operation } of operations) {
        expect(METHODS).toContain(method)
        expect(contract[operation.operationId]).toMatchObject({ path, method: method.toUpperCase(), summary: operation.summary })
      }
    })

    test('declares exactly the parameters of each path', () => {
      for (const { path, operation } of operationsOf(document)) {
        expect(path).toMatch(/^\/[^?#]*$/)
        const declared = operation.parameters.filter((parameter: Json) => parameter.in === 'path')
        expect(declared.map((parameter: Json) => parameter.name)).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))
        for (const parameter of declared) expect(parameter.required).toBe(true)
        const names = operation.parameters.map((parameter: Json) => `${parameter.in} ${parameter.name}`)
        expect(new Set(names).size).toBe(names.length)
        for (const parameter of operation.parameters) expect(Object.keys(parameter.schema).length).toBeGreaterThan(0)
      }
    })

    test('declares every answer and every problem of the contract, none of them twice', () => {
      for (const { operation } of operationsOf(document)) {
        const source = contract[operation.operationId]
        if (!source) throw new Error('unknown operation')
        const answers = Object.keys(source.responses)
        const problems = Object.keys(problemCodes(source))
        expect(answers.filter(status => problems.includes(status))).toEqual([])
        expect(Object.keys(operation.responses).sort()).toEqual([...answers, ...problems].sort())
        for (const [status, response] of Object.entries<Json>(operation.responses)) {
          expect(status).toMatch(/^[1-5]\d\d$/)
          expect(response.description).toBeTruthy()
          for (const header of Object.values<Json>(response.headers ?? {})) expect(header.schema).toEqual({ type: 'string' })
        }
      }
    })

    test('every body has an example, which satisfies the schema beside it', () => {
      for (const { where, schema, example } of contentsOf(document)) {
        expect(example, where).toBeDefined()
        expect(z.fromJSONSchema(schema).safeParse(example).error, where).toBeUndefined()
      }
    })

    test('the examples satisfy the schemas of the contract', () => {
      for (const [operationId, { body, bodyExample, responses }] of Object.entries(contract)) {
        if (body) expect(body.safeParse(bodyExample).error, operationId).toBeUndefined()
        for (const [status, response] of Object.entries(responses)) {
          expect(response.body === undefined, `${operationId} ${status}`).toBe(response.example === undefined)
          if (response.body) expect(response.body.safeParse(response.example).error, `${operationId} ${status}`).toBeUndefined()
        }
      }
    })

    test('problems are application/problem+json with their status and codes', () => {
      for (const { operation } of operationsOf(document)) {
        const source = contract[operation.operationId]
        for (const [status, codes] of Object.entries(source ? problemCodes(source) : {})) {
          const { content } = operation.responses[status]
          expect(Object.keys(content)).toEqual(['application/problem+json'])
          const { schema, example } = content['application/problem+json']
          expect(schema.properties).toMatchObject({ status: { const: Number(status) }, code: { enum: codes } })
          expect(example).toMatchObject({ status: Number(status), code: codes[0], type: `urn:problem:${codes[0]}` })
          expect(new Set(codes).size).toBe(codes.length)
        }
      }
    })

    test('every reference and every security scheme leads somewhere', () => {
      for (const ref of refsOf(document)) {
        expect(ref).toMatch(/^#\//)
        expect(resolve(document, ref), ref).toBeDefined()
      }
      for (const { operation } of operationsOf(document)) {
        const { auth } = contract[operation.operationId] ?? {}
        expect(operation.security).toEqual(auth === 'none' ? undefined : [{ [auth as string]: [] }])
        if (auth !== 'none') expect(document.components.securitySchemes[auth as string]).toMatchObject({ type: 'http', scheme: 'bearer' })
      }
    })

    test('serves itself', () => {
      expect(contract.getOpenApi).toBe(openApiOperation)
      expect(openApiOperation.responses[200].body.safeParse(document).success).toBe(true)
    })
  })
