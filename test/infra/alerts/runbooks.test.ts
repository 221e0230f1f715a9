import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { runbookFiles } from '../../../infra/kit/alerts/runbooks.ts'
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

test("npx fairlead charts writes every page that an alert links to, follows the kit, and leaves what is the project's", async () => {
  expect((await charts('--check')).stderr).toContain('docs/runbooks/circuit-open.md')
  expect(await charts()).toMatchObject({ code: 0, stderr: '' })
  const there = (await readdir(join(root, 'docs/runbooks'))).map(name => `docs/runbooks/${name}`)
  expect(there).toEqual(expect.arrayContaining(linked()))
  expect(linked()).toContain('docs/runbooks/sold-out.md')
  expect(await read('sold-out.md')).toBe(await readFile(join(project.root, 'docs/runbooks/sold-out.md'), 'utf8'))
  expect((await charts('--check')).code).toBe(0)

  const [mark, ...text] = (await read('circuit-open.md')).split('\n')
  await writeFile(page('circuit-open.md'), `${mark}\nof an older version`)
  await writeFile(page('gone.md'), `${mark}\nof an alert that the kit had`)
  await writeFile(page('restarting.md'), 'Call Ada.')
  const drifted = (await charts('--check')).stderr
  for (const [name, isNamed] of Object.entries({ 'circuit-open': true, gone: true, restarting: false }))
    expect(drifted.includes(`docs/runbooks/${name}.md`), name).toBe(isNamed)
  expect((await charts()).code).toBe(0)
  expect(await read('circuit-open.md')).toBe([mark, ...text].join('\n'))
  expect(await read('restarting.md')).toBe('Call Ada.')
  await expect(read('gone.md')).rejects.toThrow('ENOENT')
  expect((await charts('--check')).code).toBe(0)
}, 120_000)

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
