import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../../services/chassis/contract/settings.ts'
import { databaseUrlFile } from '../../../services/chassis/data/database-url.ts'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-url-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const file = async (name: string, content: string) => {
  await writeFile(join(dir, name), content)
  return join(dir, name)
}
const load = (path: string) => loadConfig({ DATABASE_URL_FILE: databaseUrlFile }, { DATABASE_URL_FILE: path }).DATABASE_URL_FILE

describe('databaseUrlFile', () => {
  test('gives what the file holds now, without white space around it', async () => {
    const path = await file('good', ' postgres://a:b@localhost/c\n')
    const url = load(path)
    expect(url()).toBe('postgres://a:b@localhost/c')
    await writeFile(path, 'postgresql://a:d@localhost/c')
    expect(url()).toBe('postgresql://a:d@localhost/c')
  })

  test.each([
    ['empty', ''],
    ['garbage', 'hunter2'],
    ['of something else', 'https://hunter2@localhost'],
    ['wrongly encoded', 'postgres://a:hunter2%zz@localhost/c'],
    ['half', 'postgres:/'.slice(0, 5)],
  ])('refuses a file that is %s, naming the file and not what it holds', async (name, content) => {
    const path = await file(name, content)
    expect(() => load(path)).toThrow(`DATABASE_URL_FILE is wrong (${path} holds no Postgres URL`)
    expect(() => load(path)).not.toThrow('hunter2')
  })

  test.each([
    ['none', 'ENOENT'],
    ['.', 'EISDIR'],
  ])('refuses the file %s, which cannot be read', (name, code) => {
    expect(() => load(join(dir, name))).toThrow(`cannot be read: ${code}`)
  })
})
