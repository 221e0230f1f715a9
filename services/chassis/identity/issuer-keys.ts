import { readFile } from 'node:fs/promises'
import { createLocalJWKSet, decodeJwt, errors, type FlattenedJWSInput, type JSONWebKeySet } from 'jose'
import { Agent, request } from 'undici'
import type { Runtime } from '../telemetry/runtime.ts'
import { createJwksCache, type KeyLookup, keysUnavailable } from './jwks.ts'

/** A key set has a few kilobytes. */
const MAX_BYTES = 1 << 18
const FETCH_MS = 5_000
/** A look at a file costs next to nothing, and the kubelet brings a new one without a word. */
const FILE = { refreshMs: 5_000, unknownKidMs: 1_000 }

export interface IssuerKeysOptions {
  issuer: string
  /** Path of a file, or an https URL. */
  source: string
  /** Path of the certificates of the authorities that may vouch for the URL. @default Node's own */
  caFile?: string | undefined
}

export interface IssuerKeys {
  lookup: KeyLookup
  close(): void
}

const isUrl = (source: string): boolean => source.includes('://')

/**
 * The keys of the cluster's token issuer, followed as it rotates them. A token of this issuer whose key is not known after one more look
 * is 401 and counted; it is 503 while nobody can tell, because the last look failed.
 * @throws Error when a file cannot be read; a URL is asked until it answers
 */
export async function openIssuerKeys(
  { issuer, source, caFile }: IssuerKeysOptions,
  { log, metrics }: Pick<Runtime, 'log' | 'metrics'>,
): Promise<IssuerKeys> {
  const unknown = metrics.counter('workload_unknown_key_total', 'Workload tokens of the issuer whose key it does not publish', [], [{}])
  const cache = isUrl(source)
    ? createJwksCache({ log, fetch: () => download(source, caFile) })
    : createJwksCache({ log, fetch: () => read(source), initial: await read(source), ...FILE })
  const lookup: KeyLookup = async (header, token) => {
    try {
      return await cache.lookup(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || claimedIssuer(token) !== issuer) throw error
      if (!cache.answered()) throw keysUnavailable()
      unknown.inc()
      log.error({ kid: header.kid?.slice(0, 100), source }, 'workload token signed with a key that the issuer does not publish')
      throw error
    }
  }
  return { lookup, close: cache.close }
}

const read = async (path: string): Promise<JSONWebKeySet> => valid(await readFile(path, 'utf8'))

/** No redirect is followed: the network policy knows one address. */
async function download(url: string, caFile: string | undefined): Promise<JSONWebKeySet> {
  const agent = new Agent({ maxResponseSize: MAX_BYTES, connect: { timeout: FETCH_MS, ...(caFile && { ca: await readFile(caFile, 'utf8') }) } })
  try {
    const { statusCode, body } = await request(url, { dispatcher: agent, signal: AbortSignal.timeout(FETCH_MS) })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`${url} answered ${statusCode}`)
    return valid(text)
  } finally {
    await agent.destroy()
  }
}

function valid(text: string): JSONWebKeySet {
  const keys: JSONWebKeySet = JSON.parse(text)
  createLocalJWKSet(keys)
  return keys
}

const claimedIssuer = ({ payload }: FlattenedJWSInput) => decodeJwt(`.${payload}.`).iss
