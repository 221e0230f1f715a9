import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Those of the kit's own alerts. */
const KIT = fileURLToPath(new URL('../runbooks', import.meta.url))

/** Of a copy in a repository: it follows the kit until somebody takes this line away. */
const COPIED = '<!-- npx fairlead charts wrote this page. Without this line it is yours, and stays as you leave it. -->\n'

const isCopy = (path: string) => readFileSync(path, 'utf8').startsWith(COPIED)

const folderOf = (root: string) => join(root, 'docs', 'runbooks')

/** Paths of the pages in a folder, by name. */
const pagesIn = (folder: string): [name: string, path: string][] =>
  existsSync(folder)
    ? readdirSync(folder).flatMap(file => (file.endsWith('.md') ? [[file.slice(0, -'.md'.length), join(folder, file)] as [string, string]] : []))
    : []

/** Paths by name, sorted: the kit's, and the project's, which may replace them. */
export function runbookFiles(root: string): Map<string, string> {
  const own = pagesIn(folderOf(root)).filter(([, path]) => !isCopy(path))
  return new Map([...new Map([...pagesIn(KIT), ...own])].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** What a repository's docs/runbooks lacks for the pages that alerts link to. */
export interface RunbookDrift {
  /** Copies of the kit's pages that are missing or of another version: texts by path. */
  write: Map<string, string>
  /** Paths of copies that the kit no longer has. */
  remove: string[]
}

/** Pages of the project's own stay out of it. */
export function runbookDrift(root: string): RunbookDrift {
  const there = new Map(pagesIn(folderOf(root)))
  const kit = new Map(pagesIn(KIT))
  const write = new Map<string, string>()
  for (const [name, path] of kit) {
    const text = COPIED + readFileSync(path, 'utf8')
    const known = there.get(name)
    if (known === undefined || (isCopy(known) && readFileSync(known, 'utf8') !== text)) write.set(join(folderOf(root), `${name}.md`), text)
  }
  return { write, remove: [...there].flatMap(([name, path]) => (kit.has(name) || !isCopy(path) ? [] : [path])) }
}
