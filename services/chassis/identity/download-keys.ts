import { readFile } from 'node:fs/promises'
import { createLocalJWKSet, type JSONWebKeySet } from 'jose'
import { Agent, request } from 'undici'

/** A key set has a few kilobytes. */
const MAX_BYTES = 1 << 18

export interface DownloadOptions {
  timeoutMs: number
  /** Path of the certificates of the authorities that may vouch for the URL. @default Node's own */
  caFile?: string | undefined
  headers?: Record<string, string>
}

/** A key set from a URL. No redirect is followed: the network policy knows one address. */
export async function downloadKeys(url: string, { timeoutMs, caFile, headers = {} }: DownloadOptions): Promise<JSONWebKeySet> {
  const agent = new Agent({ maxResponseSize: MAX_BYTES, connect: { timeout: timeoutMs, ...(caFile && { ca: await readFile(caFile, 'utf8') }) } })
  try {
    const { statusCode, body } = await request(url, { dispatcher: agent, headers, signal: AbortSignal.timeout(timeoutMs) })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`${url} answered ${statusCode}`)
    return parseKeys(text)
  } finally {
    await agent.destroy()
  }
}

/** A key set from a file. */
export const readKeys = async (path: string): Promise<JSONWebKeySet> => parseKeys(await readFile(path, 'utf8'))

/** @throws Error when it is no key set, or an empty one: the last good keys are better */
function parseKeys(text: string): JSONWebKeySet {
  const keys: JSONWebKeySet = JSON.parse(text)
  createLocalJWKSet(keys)
  if (keys.keys.length === 0) throw new Error('the key set is empty')
  return keys
}
