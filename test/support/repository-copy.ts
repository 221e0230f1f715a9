import { chmod, cp, mkdtemp, readdir, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** What no clone has. */
const NOT_COMMITTED = new Set(['.data', '.git', 'coverage', 'dist', 'node_modules'])

/** @returns the folder of a copy of this repository, to write in; node_modules is shared */
export async function copyRepository(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-copy-'))
  // Under root Postgres runs as nobody, who has to reach its programs in there.
  await chmod(dir, 0o755)
  for (const name of await readdir('.')) if (!NOT_COMMITTED.has(name)) await cp(name, join(dir, name), { recursive: true })
  await symlink(resolve('node_modules'), join(dir, 'node_modules'))
  return dir
}
