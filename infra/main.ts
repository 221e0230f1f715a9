import { readdir, rm } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { buildCharts, imageReferences, loadSettings } from '@fairlead/infra'
import { App, YamlOutputType } from 'cdk8s'
import { parseFlags } from 'fairlead/cluster/options'
import { runCommand, say } from 'fairlead/terminal'
import { system } from './system.ts'

const HELP = `npm run synth

Writes the manifests of the system to dist/, one YAML file a chart. What differs between environments comes as environment variables
(infra/kit/settings.ts), e.g. HOST=shop.example.org IMAGE_REGISTRY=registry.example/shop PLATFORM=existing npm run synth.

  --help  this text
`

/** What `npm run synth` and `cdk8s synth` run: one YAML file a chart in dist/. */
async function synthToDist(): Promise<void> {
  const settings = loadSettings(process.env)
  const images = await imageReferences(system, settings)
  const app = new App({ yamlOutputType: YamlOutputType.FILE_PER_CHART })
  const charts = buildCharts(app, { system, settings, images })
  await removeOlder(app.outdir)
  app.synth()
  for (const chart of charts) say(`${relative('.', app.outdir)}: ${chart.toJson().length} objects of ${chart.node.id}`)
  if (!process.env.PLATFORM && settings.PLATFORM === 'bundled')
    say("PLATFORM is not set: these are for kind; PLATFORM=existing attaches to a cluster's own ingress, metrics and traces")
  if (settings.PLATFORM === 'bundled' && settings.API_SERVER.length === 0)
    say('API_SERVER is not set: the bundled programs may reach ports 443 and 6443 of any address; npm run deploy finds it')
}

/** Charts of an earlier run, which `kubectl apply -f dist/` would bring along. */
async function removeOlder(dir: string): Promise<void> {
  const files = await readdir(dir).catch(() => [])
  for (const file of files) if (file.endsWith('.k8s.yaml')) await rm(join(dir, file))
}

await runCommand('npm run synth', async () => {
  const flags = parseFlags({ help: { type: 'boolean', default: false } })
  if (flags.help) process.stdout.write(HELP)
  else await synthToDist()
  return 0
})
