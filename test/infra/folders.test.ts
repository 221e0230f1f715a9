import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join, normalize, relative } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = 'infra/kit'

/** From the lowest up, as the README lists them; files beside the folders are above all of them. */
const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
const FOLDERS = [...readme.matchAll(/^\d+\. `([\w-]+)\/`/gm)].map(([, folder = '']) => folder)

const folderOf = (path: string) => relative(ROOT, dirname(path)).split('/')[0] as string
const heightOf = (path: string) => (folderOf(path) === '' ? FOLDERS.length : FOLDERS.indexOf(folderOf(path)))

const files = globSync(`${ROOT}/**/*.ts`, { exclude: path => path.includes('node_modules') })

/** Every import of one file of the kit by another, of types alone too: a reader follows these as well. */
const imports = (
  await Promise.all(
    files.map(async from => {
      const source = await readFile(from, 'utf8')
      return [...source.matchAll(/(?:from |import\()'(\.{1,2}\/[^']+)'/g)].map(([, path = '']) => ({
        from,
        to: normalize(join(dirname(from), path)),
      }))
    }),
  )
).flat()

test('the README of the kit lists each of its folders of code once', () => {
  expect(FOLDERS.length).toBeGreaterThan(5)
  expect([...FOLDERS].sort()).toEqual([...new Set(files.map(folderOf))].filter(Boolean).sort())
})

test('imports lead from a folder of the kit to itself and to those before it in that list', () => {
  expect(imports.length).toBeGreaterThan(150)
  const up = imports.filter(({ from, to }) => heightOf(to) > heightOf(from))
  expect(up.map(({ from, to }) => `${relative(ROOT, from)} -> ${relative(ROOT, to)}`)).toEqual([])
})
