import { readFile } from 'node:fs/promises'
import { delimiter, resolve } from 'node:path'
import { Command } from '@commander-js/extra-typings'
import { projectAround } from './app.ts'
import { type DefinedCommand, parse, withRules } from './command.ts'
import { runCommand } from './terminal.ts'

/** Loaded when they are wanted: some bring a whole client of Kubernetes. In the order of the help. */
const COMMANDS: Record<string, () => Promise<DefinedCommand>> = {
  create: async () => (await import('./commands/create.ts')).create,
  add: async () => (await import('./commands/add.ts')).add,
  start: async () => (await import('./commands/start.ts')).start,
  up: async () => (await import('./commands/up.ts')).up,
  deploy: async () => (await import('./commands/deploy.ts')).deploy,
  down: async () => (await import('./commands/down.ts')).down,
  status: async () => (await import('./commands/status.ts')).status,
  doctor: async () => (await import('./commands/doctor.ts')).doctor,
  logs: async () => (await import('./commands/logs.ts')).logs,
  outbox: async () => (await import('./commands/outbox.ts')).outbox,
  token: async () => (await import('./commands/token.ts')).token,
  secrets: async () => (await import('./commands/secrets.ts')).secrets,
  images: async () => (await import('./commands/images.ts')).images,
  synth: async () => (await import('./commands/synth.ts')).synth,
  charts: async () => (await import('./commands/charts.ts')).charts,
  proto: async () => (await import('./commands/proto.ts')).proto,
  diagram: async () => (await import('./commands/diagram.ts')).diagram,
  check: async () => (await import('./commands/check.ts')).check,
  fuzz: async () => (await import('./commands/fuzz.ts')).fuzz,
}

const load = (names: readonly string[]): Promise<DefinedCommand[]> => Promise.all(names.flatMap(name => COMMANDS[name]?.() ?? []))

async function versionOf(): Promise<string> {
  return JSON.parse(await readFile(new URL('./package.json', import.meta.url), 'utf8')).version
}

/** A relative KUBECONFIG means the caller's folder: in another one it would name another cluster. */
function enterProject(): void {
  const { KUBECONFIG } = process.env
  if (KUBECONFIG)
    process.env.KUBECONFIG = KUBECONFIG.split(delimiter)
      .map(path => path && resolve(path))
      .join(delimiter)
  process.chdir(projectAround(process.cwd()) ?? '.')
}

/** The command line: the command that the first word names, or the list of all. */
export async function main(args: readonly string[]): Promise<void> {
  const [first = ''] = args
  const known = Object.hasOwn(COMMANDS, first)
  const name = known ? `fairlead ${first}` : 'fairlead'
  await runCommand(name, async interrupts => {
    const commands = await load(known ? [first] : Object.keys(COMMANDS))
    // As npm does: what a command reads and writes is the project's, wherever in it somebody stands.
    if (known && first !== 'create') enterProject()
    const wantsHelp = args.includes('--help') || args.includes('-h')
    const details = known && wantsHelp ? await commands[0]?.details() : ''
    const version = await versionOf()
    return parse(name, args, end => {
      const program = withRules(new Command('fairlead'))
        .description('Starts, tests, synthesizes and deploys the system whose app is infra/main.ts of this folder.')
        .usage('COMMAND [options]')
        .version(version, '--version', 'show the version')
        .helpOption('-h, --help', 'show this text')
        .helpCommand(false)
        .configureHelp({ subcommandTerm: command => command.name() })
        .addHelpText('after', '\nfairlead COMMAND --help tells the options of one command.')
      for (const command of commands) {
        const built = command.build(interrupts, end)
        if (details) built.addHelpText('after', details)
        program.addCommand(built)
      }
      return program
    })
  })
}
