import { createHash } from 'node:crypto'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { runbookDrift, runbookFiles } from '../../../infra/kit/alerts/runbooks.ts'
import { refuseImpossible } from '../../../infra/kit/checks/refuse.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { images, project, system } from '../../support/acme.ts'
import { type Ended, runNode } from '../../support/run-node.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fairlead-runbooks-'))
  await cp(project.root, root, { recursive: true })
  // Nobody starts it; the chart names its image.
  await writeFile(join(root, 'services/booking/main.ts'), '')
  await symlink(resolve('node_modules'), join(root, 'node_modules'))
  return () => rm(root, { recursive: true, force: true })
})

const page = (name: string) => join(root, 'docs/runbooks', name)
const read = (name: string) => readFile(page(name), 'utf8')
const charts = (...flags: string[]): Promise<Ended> => runNode([resolve('scripts/fairlead.mjs'), 'charts', ...flags], { cwd: root })

/** The pages to which alerts link. */
function linked(): string[] {
  const objects = Object.values(synthesize({ ...project, settings: loadSettings({}, system), images })).flat() as never[]
  const rules = objects.flatMap(({ kind, spec }: { kind: string; spec: { groups: { rules: { annotations?: Record<string, string> }[] }[] } }) =>
    kind === 'PrometheusRule' ? spec.groups.flatMap(group => group.rules) : [],
  )
  return rules.flatMap(({ annotations }) => annotations?.runbook_url ?? [])
}

test("npx fairlead charts writes every page that an alert links to, and leaves what is the project's", async () => {
  expect((await charts('--check')).stderr).toContain('docs/runbooks/circuit-open.md')
  expect(await charts()).toMatchObject({ code: 0, stderr: '' })
  const there = (await readdir(join(root, 'docs/runbooks'))).map(name => `docs/runbooks/${name}`)
  expect(there).toEqual(expect.arrayContaining(linked()))
  expect(linked()).toContain('docs/runbooks/sold-out.md')
  expect(await read('sold-out.md')).toBe(await readFile(join(project.root, 'docs/runbooks/sold-out.md'), 'utf8'))
  expect((await charts('--check')).code).toBe(0)

  await writeFile(page('circuit-open.md'), 'Call Ada.')
  await rm(page('restarting.md'))
  const { stderr } = await charts('--check')
  expect(stderr).toContain('docs/runbooks/restarting.md')
  expect(stderr).not.toContain('docs/runbooks/circuit-open.md')
  expect((await charts()).code).toBe(0)
  expect(await read('circuit-open.md')).toBe('Call Ada.')
}, 120_000)

describe('a copy of a page of the kit', () => {
  beforeEach(async () => {
    for (const [path, content] of runbookDrift(root).write) {
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, content)
    }
  })
  const drift = () => {
    const { write, remove } = runbookDrift(root)
    return [...write.keys(), ...remove].map(path => basename(path))
  }
  /** The page as a kit with another text would have written it. */
  async function writtenOf(text: string): Promise<string> {
    const mark = (await read('circuit-open.md')).split('\n')[0] as string
    return `${mark.replace(/\(\w+\)/, `(${createHash('sha256').update(text).digest('hex').slice(0, 16)})`)}\n${text}`
  }

  test('has not drifted once it is written', () => {
    expect(drift()).toEqual([])
  })

  test('follows the kit, which has another text or no such page', async () => {
    await writeFile(page('circuit-open.md'), await writtenOf('of an older version'))
    await writeFile(page('gone.md'), await writtenOf('of an alert that the kit had'))
    expect(drift()).toEqual(['circuit-open.md', 'gone.md'])
    expect(runbookFiles(root).get('circuit-open')).toBe(resolve('infra/kit/runbooks/circuit-open.md'))
  })

  test("is the project's once somebody edits it, its first line or not", async () => {
    await writeFile(page('circuit-open.md'), `${await read('circuit-open.md')}Call Ada.\n`)
    await writeFile(page('gone.md'), `${await writtenOf('of an alert that the kit had')}, and edited`)
    await writeFile(page('restarting.md'), 'Call Ada.')
    expect(drift()).toEqual([])
    for (const name of ['circuit-open', 'gone', 'restarting']) expect(runbookFiles(root).get(name)).toBe(page(`${name}.md`))
  })

  test('is not edited by a checkout with CRLF', async () => {
    const withCrlf = (text: string) => text.replaceAll('\n', '\r\n')
    await writeFile(page('restarting.md'), withCrlf(await writtenOf('of an older version\n')))
    await writeFile(page('circuit-open.md'), withCrlf(await read('circuit-open.md')))
    expect(drift()).toEqual(['restarting.md'])
    expect(runbookFiles(root).get('circuit-open')).toBe(resolve('infra/kit/runbooks/circuit-open.md'))
  })
})

describe('runbooks', () => {
  test('are those of the kit, but for pages that the project has made its own', async () => {
    await mkdir(join(root, 'docs/runbooks'), { recursive: true })
    await writeFile(page('restarting.md'), 'Call Ada.')
    expect(runbookFiles(root).get('restarting')).toBe(page('restarting.md'))
    expect(runbookFiles(root).get('circuit-open')).toBe(resolve('infra/kit/runbooks/circuit-open.md'))
  })

  test('of an alert that a service adds have to be there', async () => {
    await rm(page('sold-out.md'))
    const settings = loadSettings({}, system)
    expect(() => refuseImpossible({ ...project, root, settings, images, objects: [] })).toThrow(
      'stock: the alert SoldOut has the runbook sold-out (alerts in service.ts), and docs/runbooks/sold-out.md is not there',
    )
  })
})
