import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { diagramMermaid } from '../../infra/kit/diagram/mermaid.ts'
import { diagramSvg } from '../../infra/kit/diagram/svg.ts'
import { helmChart } from '../../infra/kit/helm/chart.ts'
import { describeImages, NAMED } from '../../infra/kit/image/image.ts'
import { protoFile, protoFiles } from '../../infra/kit/proto/files.ts'
import { chartSettings } from '../../infra/kit/settings/settings.ts'
import { app } from '../../infra/main.ts'
import type { ServiceDefinition } from '../../services/chassis/contract/graph.ts'

const diagrams = { 'docs/diagram.svg': diagramSvg, 'docs/diagram.mmd': diagramMermaid }

test.each(Object.entries(diagrams))('%s is what the graph gives: npx fairlead diagram, and commit it', async (path, diagram) => {
  expect(await readFile(path, 'utf8'), `${path} has drifted: npx fairlead diagram, and commit it`).toBe(diagram(app.system))
})

test('charts/ is what the graph gives: npx fairlead charts, and commit it', async () => {
  const settings = chartSettings(app.system)
  const images = await describeImages(app, settings, NAMED)
  const wanted = helmChart(app, settings, Object.fromEntries(images.map(({ service, tag }) => [service, tag])))
  const folder = join('charts', app.system.name)
  const there = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(folder.length + 1))
  expect(there.sort()).toEqual([...wanted.keys()].sort())
  for (const [path, content] of wanted) expect(await readFile(join(folder, path), 'utf8'), path).toBe(content)
})

const served = (app.system.services as readonly ServiceDefinition[]).filter(({ grpc }) => grpc)

test.each(served.map(service => [service.name, service] as const))(
  'the .proto of %s and its numbers are what the contract gives: npx fairlead proto, and commit them',
  async (_, service) => {
    const { files, breaking, wrong } = protoFiles(service, { kept: service.grpc?.numbers, printed: await readFile(protoFile(service), 'utf8') })
    expect({ breaking, wrong }).toEqual({ breaking: [], wrong: [] })
    for (const [path, content] of files) expect(await readFile(path, 'utf8'), `${path} has drifted: npx fairlead proto`).toBe(content)
  },
)
