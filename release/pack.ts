import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { CommandError, defineCommand, runAlone, say } from 'fairlead'

/** Folders of the packages, each after those that it imports. */
const PACKAGES = ['services/chassis', 'infra/kit', 'scripts']
const OUT = resolve('dist', 'packages')

const run = promisify(execFile)

interface Manifest {
  name: string
  version: string
  exports: Record<string, string>
  imports?: Record<string, string>
  [key: string]: unknown
}

const readManifest = async (folder: string): Promise<Manifest> => JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))

/** Where a package is made before it is packed. */
const stageOf = (folder: string) => join(OUT, basename(folder))

/** Installs this repository, and is no part of a package. */
const INSTALLER = 'install.mjs'

/** What goes in as it is: all that is neither code nor npm's. */
async function assetsOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile()).map(entry => relative(folder, join(entry.parentPath, entry.name)))
  return files.filter(path => path !== INSTALLER && !/\.ts$|^package\.json$|^node_modules\//.test(path))
}

/** @returns the path of its tarball */
async function pack(folder: string): Promise<string> {
  const stage = stageOf(folder)
  await mkdir(stage, { recursive: true })
  await compile(folder, stage)
  for (const asset of await assetsOf(folder)) {
    await mkdir(dirname(join(stage, asset)), { recursive: true })
    await cp(join(folder, asset), join(stage, asset))
  }
  await cp('LICENSE', join(stage, 'LICENSE'))
  const { exports, imports, ...manifest } = await readManifest(folder)
  const entries = { exports: packed(exports), ...(imports && { imports: packed(imports) }) }
  // Last: until it is there the folder is no package.
  await writeFile(join(stage, 'package.json'), `${JSON.stringify({ ...manifest, ...entries }, null, 2)}\n`)
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', OUT], { cwd: stage, maxBuffer: 16 << 20, timeout: 120_000 })
  const [{ filename = '' } = {}] = Object.values(JSON.parse(stdout)) as { filename?: string }[]
  return join(OUT, filename)
}

/** Entry points as they are once compiled. */
const packed = (entries: Record<string, string>) =>
  Object.fromEntries(
    Object.entries(entries).map(([entry, path]) =>
      path.endsWith('.ts') ? [entry, { types: path.replace(/\.ts$/, '.d.ts'), default: path.replace(/\.ts$/, '.js') }] : [entry, path],
    ),
  )

/** Where the compiler finds what a package exports, by what its users write. */
async function declarationsOf(folder: string): Promise<Record<string, string[]>> {
  const { name, exports } = await readManifest(folder)
  const declaration = (path: string) => join(stageOf(folder), path.replace(/\.ts$/, '.d.ts'))
  return Object.fromEntries(Object.entries(exports).map(([entry, path]) => [name + entry.slice(1), [declaration(path)]]))
}

async function compile(folder: string, stage: string): Promise<void> {
  const config = join(OUT, `tsconfig.${basename(folder)}.json`)
  const others = await Promise.all(PACKAGES.slice(0, PACKAGES.indexOf(folder)).map(declarationsOf))
  const compilerOptions = {
    noEmit: false,
    allowImportingTsExtensions: false,
    rewriteRelativeImportExtensions: true,
    declaration: true,
    sourceMap: true,
    // No source lies beside: a user's compiler would check it by the user's rules.
    inlineSources: true,
    rootDir: resolve(folder),
    outDir: stage,
    // Another package's declarations as its users get them, not its sources.
    paths: Object.assign({}, ...others),
  }
  await writeFile(
    config,
    JSON.stringify({ extends: resolve('tsconfig.json'), compilerOptions, include: [resolve(folder)], exclude: [resolve(folder, 'node_modules')] }),
  )
  await run(join('node_modules', '.bin', 'tsc'), ['-p', config], { maxBuffer: 16 << 20, timeout: 300_000 }).catch(error => {
    throw new CommandError(`${folder} does not compile: ${String(error.stdout).trim().split('\n')[0]}`)
  })
  for (const path of await readdir(stage, { recursive: true })) {
    const finish = path.endsWith('.d.ts') ? toCompiled : path.endsWith('.map') ? toBeside : undefined
    if (finish) await writeFile(join(stage, path), finish(await readFile(join(stage, path), 'utf8')))
  }
}

/** tsc rewrites specifiers in code alone. */
const toCompiled = (declarations: string) => declarations.replace(/((?:from|import\()\s*['"]\.{1,2}\/[^'"]*)\.ts(['"])/g, '$1.js$2')

/** The source is embedded in the map, under the name that it would have beside its code; tsc writes its path in this repository. */
function toBeside(map: string): string {
  const { sources, ...rest } = JSON.parse(map) as { sources: string[] }
  return JSON.stringify({ ...rest, sources: sources.map(source => basename(source)) })
}

await runAlone(
  defineCommand({
    name: 'npm run pack',
    summary: 'Write the packages of this repository as npm tarballs',
    description: `Writes the packages of this repository to dist/packages as npm tarballs: compiled, with declarations and source maps that hold
the sources.`,
    examples: ['npm run pack'],
    run: async () => {
      await rm(OUT, { recursive: true, force: true })
      for (const folder of PACKAGES) say(relative('.', await pack(folder)))
      return 0
    },
  }),
)
