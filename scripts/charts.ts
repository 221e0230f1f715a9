import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { helmChart } from '../infra/helm/chart.ts'
import { describeImages, NAMED } from '../infra/image/image.ts'
import { loadSettings } from '../infra/settings.ts'
import { system } from '../infra/system.ts'
import { parseFlags } from './cluster/options.ts'
import { runCommand } from './terminal.ts'

const HELP = `npm run charts

Writes the Helm chart of the system to charts/. Run it after every change of a service or of infra/, and commit what it writes.
`

await runCommand('npm run charts', async () => {
  const flags = parseFlags({ help: { type: 'boolean', default: false } })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  const settings = loadSettings({})
  const images = await describeImages(system, settings, NAMED)
  const files = helmChart(system, settings, Object.fromEntries(images.map(({ service, tag }) => [service, tag])))
  const folder = join('charts', system.name)
  await rm(folder, { recursive: true, force: true })
  for (const [path, content] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content)
  }
  process.stdout.write(`${folder}: ${files.size} files\n`)
  return 0
})
