import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { ServiceDefinition, SystemDefinition } from '@fairlead/chassis'
import { bundleService } from '../../infra/kit/image/bundle.ts'
import type { LocalSystem } from '../../scripts/local/local-system.ts'
import { CommandError } from '../../scripts/terminal.ts'
import { type Postgres, startPostgres } from '../../services/chassis/local/postgres.ts'
import { output } from './processes.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** The services of one revision, as files that node runs. */
export interface Version {
  /** Follows the service's name in tables; '' is this working tree. */
  suffix: string
  local: LocalSystem
  definition(name: string): ServiceDefinition
  /** Path of a service's program, bundled as in its image. */
  main(name: string): string
}

export interface VersionOptions {
  /** Where it keeps what it makes. */
  dir: string
  signal: AbortSignal
}

/** The working tree's own. */
export const workingTree = (options: VersionOptions & { postgres: Postgres }): Promise<Version> => prepare('', ROOT, options)

/**
 * Another revision, checked out and installed beside, with a Postgres of its own: its own code migrates and sets up its services.
 * @param undo takes what has to be undone at the end, in reverse order
 * @throws CommandError when git does not know it
 */
export async function revision(
  name: string,
  { dir, signal, say, undo }: VersionOptions & { say: (text: string) => void; undo: (() => Promise<unknown>)[] },
): Promise<Version> {
  // Not ended by Ctrl-C: the checkout is to be removed then.
  const git = (...args: string[]) => output('git', ['-C', ROOT, ...args], { signal: new AbortController().signal })
  const commit = (await git('rev-parse', '--verify', '--short', `${name}^{commit}`).catch(() => '')).trim()
  if (!commit) throw new CommandError(`--compare ${name}: git knows no such revision`)
  const root = join(dir, 'revision')
  say(`checking out ${commit} and installing what it needs`)
  await git('worktree', 'add', '--detach', '--force', root, commit)
  undo.push(() => git('worktree', 'remove', '--force', root))
  await output('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', '--prefix', root], { signal })
  const own = join(dir, 'compared')
  const postgres = await startPostgres({ dir: join(own, 'postgres') })
  undo.push(() => postgres.stop())
  return prepare(` at ${commit}`, root, { dir: own, postgres, signal })
}

async function prepare(suffix: string, root: string, { dir, postgres, signal }: VersionOptions & { postgres: Postgres }): Promise<Version> {
  const from = async <T>(path: string) => (await import(pathToFileURL(join(root, path)).href)) as T
  const { system } = await from<{ system: SystemDefinition }>('infra/system.ts')
  const local = await from<typeof import('../../scripts/local/local-system.ts')>('scripts/local/local-system.ts')
  const ports = new Map<string, Awaited<ReturnType<typeof local.freePorts>>>()
  for (const service of system.services) ports.set(service.name, await local.freePorts(service))
  const portsOf = ({ name }: ServiceDefinition) => ports.get(name) as NonNullable<ReturnType<typeof ports.get>>
  const prepared = await local.prepareLocalSystem({ system, root, dir, postgres, portsOf, signal })
  for (const { name } of system.services) await writeBundle(name, root, join(dir, 'app', name))
  const definition = (name: string) => system.services.find(one => one.name === name) as ServiceDefinition
  return { suffix, local: prepared, definition, main: name => join(dir, 'app', name, 'main.js') }
}

async function writeBundle(name: string, root: string, folder: string): Promise<void> {
  const { files } = await bundleService(name, root)
  files.set('package.json', Buffer.from('{"type":"module"}'))
  for (const [path, content] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content)
  }
}
