import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { objectionTo, patternsInSources, patternsOf, unboundedOf } from '../../scripts/patterns.ts'
import { type Contract, strict } from '../../services/chassis/contract/contract.ts'

process.env.RECHECK_BACKEND = 'pure'

const accepting = (body: z.ZodType, more: object = {}): Contract => ({
  add: { method: 'POST', path: '/things', summary: 'Add', auth: 'none', body, responses: { 204: { description: 'Done' } }, ...more },
})

// The search has no clock of its own: on a busy machine it takes its time.
describe('objectionTo', { timeout: 120_000 }, () => {
  test.each([[/^[a-z0-9][a-z0-9-]{0,63}$/], [/^[^\u0000]*$/], [/^(?=.*\S)[^\u0000-\u001f]*$/], [/^Bearer +([A-Za-z0-9]+=*)$/i]])(
    'has nothing to say of %s',
    pattern => {
      expect(objectionTo(pattern)).toBeUndefined()
    },
  )

  test.each([
    [/^[^\u0001]*[^\s\u0001][^\u0001]*$/, 'time with the power 2'],
    [/^(a+)+$/, 'exponential time'],
    [/\s+$/, 'time with the power 2'],
  ])('names what is wrong with %s', (pattern, what) => {
    expect(objectionTo(pattern)).toContain(what)
  })

  test('refuses what cannot be told', () => {
    expect(objectionTo(/^(a|b)*?\1*(a|b|ab)*\2$/)).toBeDefined()
  })
})

test('every pattern of a request is found, wherever it stands', () => {
  const text = (pattern: RegExp) => z.string().regex(pattern)
  const contract = accepting(
    strict({
      plain: text(/1/),
      optional: text(/2/).optional(),
      list: z.array(strict({ deep: text(/3/).nullable() })),
      either: z.union([text(/4/), z.int()]),
      converted: text(/5/).transform(Number).pipe(z.number()),
      named: z.record(text(/6/), text(/7/)),
      pair: z.tuple([text(/8/)]),
      format: z.uuid(),
    }),
    { params: z.object({ id: text(/9/) }), query: z.object({ q: text(/0/).default('0') }) },
  )
  const found = patternsOf('acme', contract)
  expect(
    found
      .map(({ pattern }) => pattern.source)
      .filter(source => source.length === 1)
      .toSorted(),
  ).toEqual([...'0123456789'])
  expect(found.map(({ pattern }) => pattern.source).some(source => source.includes('[0-9a-fA-F]{8}'))).toBe(true)
  expect(found.find(({ pattern }) => pattern.source === '3')?.where).toBe('acme.add body.list.*.deep')
  expect(found.find(({ pattern }) => pattern.source === '9')?.where).toBe('acme.add params.id')
})

describe('unboundedOf', () => {
  test.each([
    ['a text', z.string(), 'text'],
    ['a text of a pattern without an end', z.string().regex(/^[a-z]+$/), 'text'],
    ['a text of a pattern that it need not match whole', z.string().regex(/[a-z]{3}/), 'text'],
    ['a list', z.array(z.int()), 'list'],
    ['a text in a list', z.array(z.string()).max(3), 'text'],
    ['an optional text', z.string().optional(), 'text'],
    ['a text among others', z.union([z.string(), z.int()]), 'text'],
    ['a text of a record', z.record(z.string().max(3), z.string()), 'text'],
  ])('names %s without a longest length', (_name, schema, what) => {
    expect(unboundedOf('acme', accepting(strict({ it: schema })))).toEqual([{ where: expect.stringMatching(/^acme\.add body\.it/), what }])
  })

  test.each([
    ['a text with a longest length', z.string().max(10)],
    ['a text whose description has one', z.string().meta({ maxLength: 10 })],
    ['a text of a pattern that ends', z.string().regex(/^[a-z+*]{1,3}\+$/)],
    ['one of several words', z.enum(['a', 'b'])],
    ['a word', z.literal('a')],
    ['a list with a longest length', z.array(z.int()).max(3)],
    ['a number', z.int()],
  ])('has nothing to say of %s', (_name, schema) => {
    expect(unboundedOf('acme', accepting(strict({ it: schema })))).toEqual([])
  })
})

test('patterns that sources write out are found with their line', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-patterns-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  await writeFile(join(dir, 'a.ts'), 'const half: number = 4 / 2 / 1\n\nexport const bad = (text: string): boolean => /^(a+)+$/i.test(text)\n')
  expect(await patternsInSources(dir)).toEqual([{ where: `${join(dir, 'a.ts')}:3`, pattern: /^(a+)+$/i }])
})
