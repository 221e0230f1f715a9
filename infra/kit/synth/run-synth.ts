import { readdir, rm } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { App, YamlOutputType } from 'cdk8s'
import { imageReferences } from '../image/image.ts'
import type { Project } from '../settings/project.ts'
import { describeSettings, loadSettings } from '../settings/settings.ts'
import { buildCharts } from './synth.ts'

type Env = Record<string, string | undefined>

const help = ({ system }: Project) => `npm run synth

Writes the manifests of the system to dist/, one YAML file per chart. Settings come as environment variables, e.g.
HOST=acme.example.org IMAGE_REGISTRY=registry.example/acme PLATFORM=existing npm run synth.

  --help  this text

Settings:
${describeSettings(system)}
`

const say = (text: string) => void process.stderr.write(`${text}\n`)

/** Errors whose message is all that people need. */
const EXPECTED = new Set(['ConfigError', 'DefinitionError', 'Refused', 'ProjectError'])

/** The program behind `npm run synth`: flags, output and exit code of this process. A defect alone shows a stack. */
export async function runSynth(project: Project, env: Env): Promise<void> {
  let flags: { help: boolean }
  try {
    flags = parseArgs({ options: { help: { type: 'boolean', default: false } } }).values
  } catch (error) {
    say(`error: ${(error as Error).message.split('. ')[0]}; see --help`)
    process.exitCode = 2
    return
  }
  try {
    if (flags.help) process.stdout.write(help(project))
    else await writeManifests(project, env)
  } catch (error) {
    const { name, path, message } = error as NodeJS.ErrnoException
    // With a path it is the machine that refuses a file or folder; the message names the call and the path.
    if (!EXPECTED.has(name) && path === undefined) throw error
    say(`error: ${message}`)
    process.exitCode = 1
  }
}

/** One YAML file per chart in dist/. */
export async function writeManifests(project: Project, env: Env): Promise<void> {
  const settings = loadSettings(env, project.system)
  const images = await imageReferences(project, settings)
  const app = new App({ yamlOutputType: YamlOutputType.FILE_PER_CHART, outdir: env.CDK8S_OUTDIR ?? join(project.root, 'dist') })
  const charts = buildCharts(app, { ...project, settings, images })
  await removeOlder(app.outdir)
  app.synth()
  for (const chart of charts) say(`${relative('.', app.outdir)}: ${chart.toJson().length} objects of ${chart.node.id}`)
  if (!env.PLATFORM && settings.PLATFORM === 'bundled')
    say("PLATFORM is not set: these are for kind; PLATFORM=existing attaches to a cluster's own ingress, metrics and traces")
  if (settings.PLATFORM === 'bundled' && settings.API_SERVER.length === 0)
    say('API_SERVER is not set: the bundled programs may reach ports 443 and 6443 of any address; npx fairlead deploy finds it')
}

/** Charts of an earlier run, which `kubectl apply -f dist/` would bring along. */
async function removeOlder(dir: string): Promise<void> {
  const files = await readdir(dir).catch(() => [])
  for (const file of files) if (file.endsWith('.k8s.yaml')) await rm(join(dir, file))
}
