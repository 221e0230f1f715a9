import { access, mkdir, readdir, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { SecretFolder } from '@fairlead/chassis'
import { CommandError } from '../terminal.ts'
import { ensureSigningKeys } from './credentials.ts'

/**
 * The folder of one secret of one service where there is no cluster; no service sees another's.
 * @returns its path, with files in it
 * @throws CommandError naming the folder when the secret is not there and nobody here can make it
 */
export async function localSecret(dir: string, service: string, { name, make }: SecretFolder): Promise<string> {
  const folder = join(dir, 'secrets', service, name)
  if (make === 'ed25519-jwk') {
    await takeOver(join(dir, name), folder)
    return ensureSigningKeys(folder)
  }
  const files = await readdir(folder).catch(() => [])
  if (files.length === 0) throw new CommandError(`the secret ${name}, which ${service} declares, is not there: put its files into ${folder}`)
  return folder
}

/** Earlier versions had one folder for all: whoever logged in then stays logged in. */
async function takeOver(old: string, folder: string): Promise<void> {
  const exists = (path: string) =>
    access(path).then(
      () => true,
      () => false,
    )
  if ((await exists(folder)) || !(await exists(old))) return
  await mkdir(dirname(folder), { recursive: true, mode: 0o700 })
  await rename(old, folder)
}
