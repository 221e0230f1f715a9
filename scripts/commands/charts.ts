import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { chartSettings, describeImages, helmChart, NAMED, type RunbookDrift, runbookDrift } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { defineCommand } from '../command.ts'
import { CommandError, say } from '../terminal.ts'

async function check(folder: string, wanted: ReadonlyMap<string, string>, runbooks: RunbookDrift): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const there = entries.filter(entry => entry.isFile()).map(entry => relative(folder, join(entry.parentPath, entry.name)))
  const drifted: string[] = []
  for (const path of new Set([...there, ...wanted.keys()])) {
    const content = there.includes(path) ? await readFile(join(folder, path), 'utf8') : undefined
    if (content !== wanted.get(path)) drifted.push(join(folder, path))
  }
  drifted.push(...[...runbooks.write.keys(), ...runbooks.remove].map(path => relative('.', path)))
  if (drifted.length > 0) throw new CommandError(`not what the graph gives: ${drifted.sort().join(', ')}; npx fairlead charts writes them`)
}

async function write(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  await rm(folder, { recursive: true, force: true })
  for (const [path, content] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content)
  }
}

async function bring({ write: pages, remove }: RunbookDrift): Promise<void> {
  for (const [path, content] of pages) {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
  }
  for (const path of remove) await rm(path)
}

export const charts = defineCommand({
  name: 'charts',
  summary: 'Write the Helm chart of the system, and the runbooks of its alerts',
  description: `Writes the Helm chart of the system to charts/, and to docs/runbooks the pages that alerts of the kit link to. A page there that you
edited or wrote stays as it is. Run it after every change of a service or of infra/, and commit what it
writes.`,
  examples: ['npx fairlead charts', 'npx fairlead charts --check'],
  options: command => command.option('--check', 'write nothing, and end with 1 when charts/ or docs/runbooks has drifted'),
  run: async flags => {
    const app = await loadApp()
    const folder = join('charts', app.system.name)
    const settings = chartSettings(app.system)
    const images = await describeImages(app, settings, NAMED)
    const files = helmChart(app, settings, Object.fromEntries(images.map(({ service, tag }) => [service, tag])))
    const runbooks = runbookDrift(app.root)
    if (flags.check) {
      await check(folder, files, runbooks)
      say(`${folder} is what the graph gives`)
    } else {
      await write(folder, files)
      await bring(runbooks)
      process.stdout.write(`${folder}: ${files.size} files\n`)
      if (runbooks.write.size > 0) process.stdout.write(`docs/runbooks: ${runbooks.write.size} pages\n`)
    }
    return 0
  },
})
