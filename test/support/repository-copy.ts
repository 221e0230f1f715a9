import { chmod, cp, mkdir, mkdtemp, readdir, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** What no clone has. */
const NOT_COMMITTED = new Set(['.data', '.git', 'coverage', 'dist', 'node_modules'])

/** Links of npm to packages of the repository itself: in a copy they lead to the copy's. */
const WORKSPACES = new Set(['@fairlead', 'fairlead'])

/** @returns the folder of a copy of this repository, to write in; the packages in node_modules are shared */
export async function copyRepository(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-copy-'))
  // Under root Postgres runs as nobody, who has to reach its programs in there.
  await chmod(dir, 0o755)
  for (const name of await readdir('.')) if (!NOT_COMMITTED.has(name)) await cp(name, join(dir, name), { recursive: true })
  const modules = join(dir, 'node_modules')
  await mkdir(modules)
  for (const name of await readdir('node_modules')) {
    // Compiled code is kept by path: a copy's would stay there for ever.
    if (name === '.cache') continue
    if (WORKSPACES.has(name)) await cp(join('node_modules', name), join(modules, name), { recursive: true, verbatimSymlinks: true })
    else await symlink(resolve('node_modules', name), join(modules, name))
  }
  return dir
}
