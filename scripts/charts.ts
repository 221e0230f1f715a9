import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { describeImages, helmChart, loadSettings, NAMED } from '@fairlead/infra/tools'
import { loadApp } from './app.ts'
import { parseFlags } from './cluster/options.ts'
import { CommandError, runCommand, say } from './terminal.ts'

const HELP = `npm run charts [-- options]

Writes the Helm chart of the system to charts/. Run it after every change of a service or of infra/, and commit what it writes.

  --check  writes nothing and fails when charts/ is not what the graph gives
  --help   this text
`

async function check(folder: string, wanted: ReadonlyMap<string, string>): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const there = entries.filter(entry => entry.isFile()).map(entry => relative(folder, join(entry.parentPath, entry.name)))
  const drifted: string[] = []
  for (const path of new Set([...there, ...wanted.keys()])) {
    const content = there.includes(path) ? await readFile(join(folder, path), 'utf8') : undefined
    if (content !== wanted.get(path)) drifted.push(join(folder, path))
  }
  if (drifted.length > 0) throw new CommandError(`not what the graph gives: ${drifted.sort().join(', ')}; npm run charts writes them`)
}

async function write(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  await rm(folder, { recursive: true, force: true })
  for (const [path, content] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content)
  }
}

await runCommand('npm run charts', async () => {
  const flags = parseFlags({ check: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  const app = await loadApp()
  const folder = join('charts', app.system.name)
  const settings = loadSettings({})
  const images = await describeImages(app, settings, NAMED)
  const files = helmChart(app, settings, Object.fromEntries(images.map(({ service, tag }) => [service, tag])))
  if (flags.check) {
    await check(folder, files)
    say(`${folder} is what the graph gives`)
  } else {
    await write(folder, files)
    process.stdout.write(`${folder}: ${files.size} files\n`)
  }
  return 0
})
