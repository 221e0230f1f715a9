import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { partsOf } from '../settings/images.ts'

const run = promisify(execFile)
const INSPECT_TIMEOUT_MS = 10_000
const PULL_TIMEOUT_MS = 300_000

/**
 * What a base image is. A digest says it by itself, on every machine. Of a tag the local docker knows: the digest that its registry gave
 * it, or else the image's own id. Where docker does not have it the tag is all there is to know.
 */
export async function identityOf(reference: string): Promise<string> {
  const { digest } = partsOf(reference)
  return digest ?? (await inspect(reference)) ?? reference
}

async function inspect(reference: string): Promise<string | undefined> {
  const format = '{{range .RepoDigests}}{{println .}}{{end}}{{.Id}}'
  const stdout = await run('docker', ['image', 'inspect', '--format', format, reference], { timeout: INSPECT_TIMEOUT_MS }).then(
    ({ stdout: said }) => said,
    () => '',
  )
  const known = stdout.split('\n').filter(Boolean)
  const { name } = partsOf(reference)
  const own = known.find(line => line.startsWith(`${name}@`)) ?? known.at(-1)
  return own && (partsOf(own).digest ?? own)
}

/** Brings a base image that docker lacks, or the newest of its tag: before it is there nobody knows what it is. @throws Error when there is none to be had */
export async function ensureBase(reference: string, { newest = false, signal }: { newest?: boolean; signal?: AbortSignal }): Promise<void> {
  if (!newest && (await inspect(reference))) return
  await run('docker', ['pull', '--quiet', reference], { timeout: PULL_TIMEOUT_MS, ...(signal && { signal }) })
}
