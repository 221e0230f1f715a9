import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { text } from 'node:stream/consumers'
import type { KubeConfig } from '@kubernetes/client-node'

export interface RestRequest {
  method?: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  body?: unknown
  /** @default application/json */
  contentType?: string
  /** @default application/json, or whatever there is */
  accept?: string
}

/** What the API server refused. */
export class ApiError extends Error {
  override name = 'ApiError'
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** A kind of object that the API server does not serve: its CustomResourceDefinition is not there. */
export class UnknownKind extends ApiError {
  constructor({ apiVersion, kind }: { apiVersion: string; kind: string }) {
    super(404, `the cluster knows no ${kind} in ${apiVersion}`)
  }
}

export type Rest = (path: string, request?: RestRequest) => Promise<string>

/**
 * Plain requests to the API server with the credentials of a kubeconfig context. The client library's own typed calls are not used:
 * their models drop the fields that they do not know, from what is sent as well.
 * @throws ApiError for an answer of 400 and above, Error with a `code` when there is none
 */
export function createRest(config: KubeConfig, timeoutMs: number): Rest {
  const cluster = config.getCurrentCluster()
  if (!cluster) throw new Error(`context ${config.getCurrentContext()} names no cluster`)
  return async (path, { method = 'GET', body, contentType = 'application/json', accept = 'application/json, */*;q=0.1' } = {}) => {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const options = {
      method,
      timeout: timeoutMs,
      signal: AbortSignal.timeout(timeoutMs),
      headers: {
        accept,
        ...(payload !== undefined && { 'content-type': contentType, 'content-length': Buffer.byteLength(payload) }),
      },
    }
    await config.applyToHTTPSOptions(options)
    return new Promise((resolve, reject) => {
      const outgoing = request(`${cluster.server}${path}`, options, async answer => {
        const received = await text(answer).catch(reject)
        if (received === undefined) return
        const { statusCode = 0 } = answer
        if (statusCode < 400) resolve(received)
        else reject(new ApiError(statusCode, messageOf(received) ?? `status ${statusCode}`))
      })
      outgoing.on('error', reject)
      outgoing.end(payload)
    })
  }
}

/** An answer that goes on until it or the signal ends it: a log that is followed. */
export async function openStream(config: KubeConfig, path: string, signal: AbortSignal): Promise<IncomingMessage> {
  const options = { signal }
  await config.applyToHTTPSOptions(options)
  return new Promise((resolve, reject) => {
    const outgoing = request(`${config.getCurrentCluster()?.server}${path}`, options, async answer => {
      if ((answer.statusCode ?? 0) < 400) resolve(answer)
      else reject(new ApiError(answer.statusCode ?? 0, messageOf(await text(answer).catch(() => '')) ?? `status ${answer.statusCode}`))
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

function messageOf(text: string): string | undefined {
  try {
    return JSON.parse(text).message
  } catch {
    return text.trim().split('\n')[0] || undefined
  }
}

interface ResourceList {
  resources: { name: string; kind: string; namespaced: boolean }[]
}

/** Paths of objects, by what the API server says of their kinds. */
export function createPaths(rest: Rest): (reference: { apiVersion: string; kind: string }, namespace?: string, name?: string) => Promise<string> {
  const known = new Map<string, Promise<ResourceList>>()
  const rootOf = (apiVersion: string) => (apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`)
  const resourcesOf = (apiVersion: string): Promise<ResourceList> => {
    const cached = known.get(apiVersion)
    if (cached) return cached
    const asked = rest(rootOf(apiVersion)).then(answer => JSON.parse(answer) as ResourceList)
    known.set(apiVersion, asked)
    // What is not there yet may be there next time: a definition that is being applied.
    asked.catch(() => known.delete(apiVersion))
    return asked
  }
  return async ({ apiVersion, kind }, namespace, name) => {
    const { resources } = await resourcesOf(apiVersion)
    const resource = resources.find(candidate => candidate.kind === kind && !candidate.name.includes('/'))
    if (!resource) {
      known.delete(apiVersion)
      throw new UnknownKind({ apiVersion, kind })
    }
    const scope = resource.namespaced && namespace ? `/namespaces/${namespace}` : ''
    return `${rootOf(apiVersion)}${scope}/${resource.name}${name ? `/${name}` : ''}`
  }
}
