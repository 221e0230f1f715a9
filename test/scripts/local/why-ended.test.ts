import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { whyEnded } from '../../../scripts/local/why-ended.ts'
import { runNode } from '../../support/run-node.ts'

let dir: string
beforeAll(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'fairlead-ended-')))
  await writeFile(join(dir, 'main.ts'), "import './routes.ts'\n")
})
afterAll(() => rm(dir, { recursive: true, force: true }))

describe('whyEnded()', () => {
  test.each([
    [
      'a syntax error',
      'export const x: number = 1\nexport function f( {\n',
      /^SyntaxError \[ERR_INVALID_TYPESCRIPT_SYNTAX\]: [^\n]+ \(routes\.ts:2\)$/,
    ],
    ['TypeScript that Node.js cannot strip', 'enum A { B }\n', /^SyntaxError \[ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX\]: [^\n]+ \(routes\.ts:1\)$/],
    ['a name that another file does not export', "import { z } from './main.ts'\nz\n", /^SyntaxError: The requested module [^\n]+ \(routes\.ts:1\)$/],
    [
      'a file that is not there',
      "import './store.ts'\n",
      /^Error \[ERR_MODULE_NOT_FOUND\]: Cannot find module '[^\n]+store\.ts' imported from [^\n]+routes\.ts$/,
    ],
    [
      'an error that nobody catches',
      'export const x = (undefined as any).x\n',
      /^TypeError: Cannot read properties of undefined [^\n]+ \(routes\.ts:1\)$/,
    ],
  ])('names %s and its place', async (_, source, expected) => {
    await writeFile(join(dir, 'routes.ts'), source)
    const { code, stderr } = await runNode([join(dir, 'main.ts')])
    expect(code).toBe(1)
    expect(whyEnded(stderr, dir)).toMatch(expected)
  })

  test("takes a service's own last word", () => {
    const written =
      '{"level":"info","msg":"begins"}\n{"level":"fatal","msg":"cannot start","err":{"message":"no database"}}\n{"level":"info","msg":"bye"}\n'
    expect(whyEnded(written)).toBe('cannot start: no database')
  })

  test('leaves all else as it is, the end of it', () => {
    expect(whyEnded('booking cannot start: the environment has 1 problem:\n  A is missing\n')).toBe(
      'booking cannot start: the environment has 1 problem:\n  A is missing',
    )
    expect(whyEnded('1\n2\n3\n4\n5\n6\n')).toBe('2\n3\n4\n5\n6')
    expect(whyEnded('')).toBe('')
  })
})
