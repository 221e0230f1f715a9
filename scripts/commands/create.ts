import { readdir, readFile } from 'node:fs/promises'
import { relative, resolve } from 'node:path'
import { defineCommand } from '../command.ts'
import { namesOf } from '../templates/names.ts'
import { repositoryFiles } from '../templates/repository.ts'
import { writeFiles } from '../templates/write-files.ts'
import { CommandError, say, usageError } from '../terminal.ts'

export const create = defineCommand({
  name: 'create',
  summary: 'Make a repository with a system of your own',
  description: `Makes a folder NAME with a system of that name: one service, its test, and everything that starts, tests and deploys it. NAME is the
name of the Kubernetes namespace as well.`,
  examples: ['npx fairlead create acme', 'npx fairlead create acme --packages ../fairlead/dist/packages'],
  options: command =>
    command.argument('<name>').option('--packages <dir>', "take Fairlead's packages from the tarballs of this folder, which npm run pack writes"),
  run: async ({ packages }, { words: [given] }) => {
    const names = namesOf('system', given)
    const folder = resolve(names.name)
    if ((await readdir(folder).catch(() => [])).length > 0) throw new CommandError(`${folder} is there already, with files in it`)
    await writeFiles(folder, repositoryFiles({ ...names, packages: packages === undefined ? await published() : await tarballs(folder, packages) }))
    say(`${names.name}/ is a repository with one service, hello. Go on with:\n`)
    if (packages === undefined)
      say(`npm install needs Fairlead's packages. They are not on npm yet: --packages DIR with the tarballs of npm run pack\n`)
    process.stdout.write(`cd ${names.name}\nnpm install\nnpm test\nnpm start\nnpx fairlead add service NAME\n`)
    return 0
  },
})

/** The packages move together: all have the version of this one. */
async function published() {
  const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  return { chassis: version, infra: version, fairlead: version }
}

/** Relative to the new folder, so that both may be moved together. */
async function tarballs(folder: string, dir: string) {
  const files = await readdir(dir).catch(() => {
    throw usageError(`--packages ${dir} is no folder`)
  })
  const find = (name: string) => {
    const found = files.find(file => new RegExp(`^${name}-\\d[^/]*\\.tgz$`).test(file))
    if (!found) throw usageError(`--packages ${dir} has no ${name}-VERSION.tgz: npm run pack writes it`)
    return `file:${relative(folder, resolve(dir, found))}`
  }
  return { chassis: find('fairlead-chassis'), infra: find('fairlead-infra'), fairlead: find('fairlead') }
}
