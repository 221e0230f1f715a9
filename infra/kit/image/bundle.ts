import { readdir, readFile } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import { type BuildFailure, build } from 'esbuild'
import { ProjectError } from '../settings/project.ts'

export interface Bundle {
  /** Content by path in the image's /app. */
  files: Map<string, Uint8Array>
  /** Every file that went in, relative to the project, sorted. */
  inputs: string[]
}

// CommonJS packages in an ES module bundle call `require` for Node's own modules.
const REQUIRE = "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);"

/**
 * One service as a few files of JavaScript, and beside it what it reads at run time: migrations, word lists.
 * @throws ProjectError naming the file that cannot be bundled
 */
export async function bundleService(name: string, root: string): Promise<Bundle> {
  const folder = join(root, 'services', name)
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: [join('services', name, 'main.ts')],
    outdir: 'app',
    write: false,
    metafile: true,
    bundle: true,
    // What only `migrate` needs is a chunk of its own, which a serving process never loads.
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    banner: { js: REQUIRE },
    external: ['pg-native'],
    legalComments: 'none',
    logLevel: 'silent',
  }).catch(({ errors: [first], message }: BuildFailure) => {
    const { file, line } = first?.location ?? {}
    throw new ProjectError(`${file ? `${file}:${line}` : `the service ${name}`} cannot be bundled: ${first?.text ?? message}`)
  })
  const data = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter(entry => entry.isFile() && !entry.name.endsWith('.ts'))
    .map(entry => relative(root, join(entry.parentPath, entry.name)))
  const files = new Map<string, Uint8Array>(outputFiles.map(({ path, contents }) => [basename(path), contents]))
  for (const path of data) files.set(relative(join('services', name), path), await readFile(join(root, path)))
  return { files, inputs: [...Object.keys(metafile.inputs), ...data].sort() }
}
