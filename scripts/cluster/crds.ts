import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { PROMETHEUS_OPERATOR_CRDS } from '../../infra/platform/images.ts'
import type { Manifest } from '../../infra/synth.ts'
import { CommandError } from '../terminal.ts'
import { type ApplyResult, applyAll } from './apply.ts'
import type { Cluster } from './cluster.ts'

const DOWNLOAD_TIMEOUT_MS = 60_000
const ESTABLISH_TIMEOUT_MS = 30_000

/** prometheus-operator's kinds, from a folder of YAML files or from its release. */
async function readCrds(folder: string | undefined): Promise<Manifest[]> {
  const texts = folder ? await readFolder(folder) : [await download()]
  const manifests = texts.flatMap(text => parseAllDocuments(text).map(document => document.toJS() as Manifest | null))
  const crds = manifests.filter(manifest => manifest?.kind === 'CustomResourceDefinition') as Manifest[]
  if (crds.length === 0) throw new CommandError(`${folder ?? PROMETHEUS_OPERATOR_CRDS} has no CustomResourceDefinition (--crds)`)
  return crds
}

async function readFolder(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(error => {
    throw new CommandError(`--crds ${folder} cannot be read: ${error.code}`)
  })
  return Promise.all(names.filter(name => /\.ya?ml$/.test(name)).map(name => readFile(join(folder, name), 'utf8')))
}

async function download(): Promise<string> {
  try {
    const answer = await fetch(PROMETHEUS_OPERATOR_CRDS, { signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS) })
    if (!answer.ok) throw new Error(`status ${answer.status}`)
    return await answer.text()
  } catch (error) {
    const reason = ((error as Error).cause as Error | undefined)?.message ?? (error as Error).message
    throw new CommandError(`${PROMETHEUS_OPERATOR_CRDS} cannot be had (${reason}): name a folder with its files by --crds or FAIRLEAD_CRDS`)
  }
}

/** Applies them and waits until the API server serves them. */
export async function ensureCrds(cluster: Cluster, folder: string | undefined, signal: AbortSignal): Promise<ApplyResult> {
  const crds = await readCrds(folder)
  const result = await applyAll(cluster, crds, { signal })
  const endsAt = performance.now() + ESTABLISH_TIMEOUT_MS
  for (const crd of crds) {
    for (;;) {
      const conditions: { type: string; status: string }[] = (await cluster.read(crd))?.status?.conditions ?? []
      if (conditions.some(({ type, status }) => type === 'Established' && status === 'True')) break
      if (performance.now() > endsAt)
        throw new CommandError(`${crd.metadata.name} is not established`, `kubectl --context ${cluster.context} get crds`)
      signal.throwIfAborted()
      await new Promise(resolve => setTimeout(resolve, 250))
    }
  }
  return result
}
