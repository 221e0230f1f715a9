import { execFile, execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { parseAllDocuments } from 'yaml'
import type { Manifest } from '../../infra/kit/objects/manifest.ts'

/** Whether helm is here; says so when it is not. */
export function hasHelm(): boolean {
  try {
    execFileSync('helm', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    process.stderr.write('SKIPPED: charts are not rendered, for helm is not installed\n')
    return false
  }
}

/**
 * What `helm template` makes of a chart that passes `helm lint --strict`.
 * @param set what `--set` gives
 * @throws Error with what helm says
 */
export async function render(files: ReadonlyMap<string, string>, values: object = {}, set: readonly string[] = []): Promise<Manifest[]> {
  const folder = await mkdtemp(join(tmpdir(), 'chart-'))
  try {
    for (const [path, content] of files) {
      await mkdir(dirname(join(folder, path)), { recursive: true })
      await writeFile(join(folder, path), content)
    }
    const given = join(folder, 'given.json')
    await writeFile(given, JSON.stringify(values))
    const flags = ['--namespace', 'acme', '--values', given, ...set.flatMap(one => ['--set', one])]
    const helm = (...args: string[]) => promisify(execFile)('helm', [...args, ...flags], { maxBuffer: 16 << 20 })
    const { stdout } = await helm('template', 'acme', folder)
    await helm('lint', '--strict', folder)
    return parseAllDocuments(stdout).flatMap(document => (document.contents ? [document.toJS() as Manifest] : []))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
