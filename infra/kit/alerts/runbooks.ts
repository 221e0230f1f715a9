import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Those of the kit's own alerts. */
const KIT = fileURLToPath(new URL('../runbooks', import.meta.url))

/** First line of a copy in a repository, which has the hash of the others: the copy follows the kit until somebody edits it. */
const MARK = /^<!-- npx fairlead charts wrote this page \((\w+)\)\. Edited, it is yours, and stays as you leave it\. -->\n/

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16)

const marked = (text: string) =>
  `<!-- npx fairlead charts wrote this page (${hashOf(text)}). Edited, it is yours, and stays as you leave it. -->\n${text}`

/** The text of a page. Git may have given its lines the ends that an editor of the machine likes. */
const textOf = (path: string) => readFileSync(path, 'utf8').replaceAll('\r\n', '\n')

function isCopy(path: string): boolean {
  const text = textOf(path)
  const [mark, hash] = MARK.exec(text) ?? []
  return mark !== undefined && hash === hashOf(text.slice(mark.length))
}

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

/** How a repository's docs/runbooks differs from the pages that alerts link to. */
export interface RunbookDrift {
  /** Copies of the kit's pages that are missing or outdated: content by path. */
  write: Map<string, string>
  /** Paths of copies of pages that the kit no longer has. */
  remove: string[]
}

/** Leaves out the project's own pages. */
export function runbookDrift(root: string): RunbookDrift {
  const there = new Map(pagesIn(folderOf(root)))
  const kit = new Map(pagesIn(KIT))
  const write = new Map<string, string>()
  for (const [name, path] of kit) {
    const text = marked(textOf(path))
    const known = there.get(name)
    if (known === undefined || (isCopy(known) && textOf(known) !== text)) write.set(join(folderOf(root), `${name}.md`), text)
  }
  return { write, remove: [...there].flatMap(([name, path]) => (kit.has(name) || !isCopy(path) ? [] : [path])) }
}
