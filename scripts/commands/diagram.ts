import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Option } from '@commander-js/extra-typings'
import { diagramMermaid, diagramSvg } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { defineCommand } from '../command.ts'
import { CommandError, say } from '../terminal.ts'

const draw = { 'docs/diagram.svg': diagramSvg, 'docs/diagram.mmd': diagramMermaid }

async function check(files: ReadonlyMap<string, string>): Promise<void> {
  const there = await Promise.all([...files.keys()].map(path => readFile(path, 'utf8').catch(() => undefined)))
  const drifted = [...files].filter(([, content], i) => there[i] !== content).map(([path]) => path)
  if (drifted.length > 0) throw new CommandError(`not what the graph gives: ${drifted.join(', ')}; npx fairlead diagram writes them`)
}

async function write(files: ReadonlyMap<string, string>): Promise<void> {
  for (const [path, content] of files) {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
  }
}

export const diagram = defineCommand({
  name: 'diagram',
  summary: 'Draw the system graph',
  description: `Draws the system graph to ${Object.keys(draw).join(' and ')}. Run it after every change of a service's definition, and commit
what it writes.`,
  examples: ['npx fairlead diagram', 'npx fairlead diagram --check'],
  options: command =>
    command
      .addOption(new Option('--check', 'write nothing, and end with 1 when the files have drifted').conflicts(['svg', 'mermaid']))
      .addOption(new Option('--svg', 'print the SVG image instead').conflicts('mermaid'))
      .option('--mermaid', 'print the Mermaid flowchart instead'),
  run: async flags => {
    const { system } = await loadApp()
    const files = new Map(Object.entries(draw).map(([path, diagram]) => [path, diagram(system)]))
    if (flags.svg) process.stdout.write(diagramSvg(system))
    else if (flags.mermaid) process.stdout.write(diagramMermaid(system))
    else if (flags.check) {
      await check(files)
      say(`${[...files.keys()].join(' and ')} are what the graph gives`)
    } else {
      await write(files)
      process.stdout.write(`${[...files.keys()].join(', ')}\n`)
    }
    return 0
  },
})
