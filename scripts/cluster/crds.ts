import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GATEWAY_API_CRDS, type Manifest, PROMETHEUS_OPERATOR_CRDS, PROMETHEUS_OPERATOR_CRDS_SHA256 } from '@fairlead/infra/tools'
import { parseAllDocuments } from 'yaml'
import { pause } from '../pause.ts'
import { kubectl, toRun } from '../remedy.ts'
import { CommandError, say, usageError, yellow } from '../terminal.ts'
import { type ApplyResult, applyAll } from './apply.ts'
import type { Cluster } from './cluster.ts'

const DOWNLOAD_TIMEOUT_MS = 60_000
const ESTABLISH_TIMEOUT_MS = 30_000

/** Where a project publishes its kinds. */
interface Release {
  url: string
  /** What the file is, as SHA-256 in hex digits. */
  sha256: string | undefined
  /** Of a folder with its files instead. */
  flag: 'crds' | 'gateway-crds'
  variable: string
}

const OPERATOR: Release = {
  url: PROMETHEUS_OPERATOR_CRDS,
  sha256: PROMETHEUS_OPERATOR_CRDS_SHA256,
  flag: 'crds',
  variable: 'FAIRLEAD_CRDS',
}
export const GATEWAY_API: Release = { url: GATEWAY_API_CRDS, sha256: undefined, flag: 'gateway-crds', variable: 'FAIRLEAD_GATEWAY_CRDS' }

/** Where kinds come from. */
export interface CrdSource {
  /** Folder of YAML files; their release without one. */
  folder: string | undefined
  /** What the download must be, as SHA-256 in hex digits. */
  sha256?: string | undefined
  /** @default prometheus-operator's */
  release?: Release
}

/** @throws CommandError, exit code 2, naming the flag */
export function crdSource({ folder, sha256 }: { folder?: string | undefined; sha256?: string | undefined }, release = OPERATOR): CrdSource {
  const { flag, variable } = release
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256))
    throw usageError(`--${flag}-sha256 (or ${variable}_SHA256) is not a SHA-256: 64 hex digits`)
  return { folder, sha256: folder ? undefined : (sha256?.toLowerCase() ?? release.sha256), release }
}

async function readCrds({ folder, sha256, release = OPERATOR }: CrdSource): Promise<Manifest[]> {
  const { url, flag } = release
  const texts = folder ? await readFolder(folder, flag) : [verified(await download(release), sha256, release)]
  const manifests = texts.flatMap(text => parseAllDocuments(text).map(document => document.toJS() as Manifest | null))
  const crds = manifests.filter(manifest => manifest?.kind === 'CustomResourceDefinition') as Manifest[]
  if (crds.length === 0) throw new CommandError(`${folder ?? url} has no CustomResourceDefinition (--${flag})`)
  return crds
}

function verified(text: string, sha256: string | undefined, { url, flag }: Release): string {
  const found = createHash('sha256').update(text).digest('hex')
  if (!sha256) say(`${yellow('!')} ${url} is compared with nothing; --${flag}-sha256 ${found} takes only what it is now`)
  else if (found !== sha256) throw new CommandError(`${url} has the SHA-256 ${found}, not ${sha256} (--${flag}-sha256): nothing of it was applied`)
  return text
}

async function readFolder(folder: string, flag: string): Promise<string[]> {
  const names = await readdir(folder).catch(error => {
    throw new CommandError(`--${flag} ${folder} cannot be read: ${error.code}`)
  })
  return Promise.all(names.filter(name => /\.ya?ml$/.test(name)).map(name => readFile(join(folder, name), 'utf8')))
}

async function download({ url, flag, variable }: Release): Promise<string> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS) })
    if (!answer.ok) throw new Error(`status ${answer.status}`)
    return await answer.text()
  } catch (error) {
    const reason = ((error as Error).cause as Error | undefined)?.message ?? (error as Error).message
    throw new CommandError(`${url} cannot be had (${reason}): name a folder with its files by --${flag} or ${variable}`)
  }
}

/** Applies them and waits until the API server serves them. */
export async function ensureCrds(cluster: Cluster, source: CrdSource, signal: AbortSignal): Promise<ApplyResult> {
  const crds = await readCrds(source)
  const result = await applyAll(cluster, crds, { signal })
  const endsAt = performance.now() + ESTABLISH_TIMEOUT_MS
  for (const crd of crds) {
    for (;;) {
      const conditions: { type: string; status: string }[] = (await cluster.read(crd))?.status?.conditions ?? []
      if (conditions.some(({ type, status }) => type === 'Established' && status === 'True')) break
      if (performance.now() > endsAt) throw new CommandError(`${crd.metadata.name} is not established`, toRun(kubectl(cluster.context, 'get crds')))
      await pause(250, signal)
    }
  }
  return result
}
