import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { diagramMermaid, diagramSvg } from '@fairlead/infra/tools'
import { system } from '../infra/system.ts'
import { parseFlags, usageError } from './cluster/options.ts'
import { CommandError, runCommand, say } from './terminal.ts'

const HELP = `npm run diagram -- [option]

Draws the system graph to docs/diagram.svg and docs/diagram.mmd. Run it after every change of a service's definition, and commit what it
writes.

  --check    writes nothing and fails when the files are not what the graph gives
  --svg      prints the SVG image instead
  --mermaid  prints the Mermaid flowchart instead
  --help     this text
`

const draw = { 'docs/diagram.svg': diagramSvg, 'docs/diagram.mmd': diagramMermaid }

async function check(files: ReadonlyMap<string, string>): Promise<void> {
  const there = await Promise.all([...files.keys()].map(path => readFile(path, 'utf8').catch(() => undefined)))
  const drifted = [...files].filter(([, content], i) => there[i] !== content).map(([path]) => path)
  if (drifted.length > 0) throw new CommandError(`not what the graph gives: ${drifted.join(', ')}; npm run diagram writes them`)
}

await runCommand('npm run diagram', async () => {
  const flags = parseFlags({
    check: { type: 'boolean', default: false },
    svg: { type: 'boolean', default: false },
    mermaid: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  const chosen = (['check', 'svg', 'mermaid'] as const).filter(flag => flags[flag]).map(flag => `--${flag}`)
  if (chosen.length > 1) throw usageError(`${chosen.join(' and ')} exclude each other; see --help`)
  const files = new Map(Object.entries(draw).map(([path, diagram]) => [path, diagram(system)]))
  if (flags.svg) process.stdout.write(diagramSvg(system))
  else if (flags.mermaid) process.stdout.write(diagramMermaid(system))
  else if (flags.check) {
    await check(files)
    say(`${[...files.keys()].join(' and ')} are what the graph gives`)
  } else {
    for (const [path, content] of files) {
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, content)
    }
    process.stdout.write(`${[...files.keys()].join(', ')}\n`)
  }
  return 0
})
