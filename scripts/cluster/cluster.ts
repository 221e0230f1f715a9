import type { Readable } from 'node:stream'
import type { Manifest } from '@fairlead/infra/tools'
import { KubeConfig } from '@kubernetes/client-node'
import { kubectl, quoted, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import { type Forwarded, forwardPort } from './forward.ts'
import { ApiError, createPaths, createRest, openStream, type Rest } from './rest.ts'

/** Names us in `managedFields`, so that the API server knows which fields are ours (server-side apply). */
const FIELD_MANAGER = 'fairlead'
const REQUEST_TIMEOUT_MS = 15_000
const METADATA_ONLY = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1'

export type Reference = Pick<Manifest, 'apiVersion' | 'kind'> & { metadata: { name: string; namespace?: string } }

/** An object as the API server has it. */
// biome-ignore lint/suspicious/noExplicitAny: many kinds, of which few fields are read
export type Live = Reference & { metadata: Record<string, any>; spec?: any; status?: any; data?: Record<string, string> }

export type Applied = 'created' | 'configured' | 'unchanged'

/** One cluster, through a context of the kubeconfig that somebody named. Every request ends within 15 s. */
export interface Cluster {
  context: string
  read(reference: Reference): Promise<Live | undefined>
  /** Whether an object is there; of its content nothing is sent. */
  exists(reference: Reference): Promise<boolean>
  /** Whether the API server knows a kind of object. */
  serves(kind: Pick<Reference, 'apiVersion' | 'kind'>): Promise<boolean>
  list(apiVersion: string, kind: string, namespace?: string, labelSelector?: string): Promise<Live[]>
  /** Server-side apply that takes over fields of other managers, and refuses fields that the API does not know. */
  apply(manifest: Reference): Promise<Applied>
  /** @returns whether it was not there before */
  create(manifest: Reference): Promise<boolean>
  /** Merge patch, for what is nobody's to keep, e.g. a restart. With a `resourceVersion` it fails with 409 once that has changed. */
  patch(reference: Reference, change: object): Promise<void>
  /** @returns whether it was there */
  remove(reference: Reference): Promise<boolean>
  /** Asks a pod to leave. @returns false while a disruption budget forbids it */
  evict(namespace: string, pod: string): Promise<boolean>
  /** The last lines of a container's log, or of the one before it; nothing if there is none. */
  logTail(namespace: string, pod: string, container: string, options?: { lines?: number; previous?: boolean }): Promise<string>
  /** A container's log from its last lines on, until the signal. */
  followLog(namespace: string, pod: string, container: string, options: { lines: number; signal: AbortSignal }): Promise<Readable>
  /** Opens a port of a pod on 127.0.0.1. */
  forward(namespace: string, pod: string, port: number): Promise<Forwarded>
  /** Who signs ServiceAccount tokens, and with which keys. */
  tokenIssuer(): Promise<{ issuer: string; jwks: string }>
  /** Of the API server; some providers write a minor version as `34+`. */
  version(): Promise<{ major: string; minor: string }>
}

/** @throws CommandError naming the contexts that there are */
function configFor(context: string): KubeConfig {
  const config = new KubeConfig()
  try {
    config.loadFromDefault()
  } catch (error) {
    throw new CommandError(`the kubeconfig cannot be read: ${(error as Error).message.split('\n')[0]}`, toRun('kubectl config view'))
  }
  const known = config.getContexts().map(({ name }) => name)
  if (!known.includes(context)) {
    throw new CommandError(
      `the kubeconfig has no context '${context}'${known.length > 0 ? `; it has ${known.join(', ')}` : ''}`,
      toRun(
        context.startsWith('kind-')
          ? `npx fairlead up${context === 'kind-fairlead' ? '' : ` --name ${quoted(context.slice('kind-'.length))}`}`
          : 'kubectl config get-contexts',
      ),
    )
  }
  config.setCurrentContext(context)
  if (!config.getCurrentCluster())
    throw new CommandError(`context '${context}' names a cluster that the kubeconfig does not have`, toRun('kubectl config view'))
  return config
}

/** Requests whose failures say what to do. */
function createAsk(config: KubeConfig, context: string): Rest {
  const rest = createRest(config, REQUEST_TIMEOUT_MS)
  return (path, request) =>
    rest(path, request).catch((error: NodeJS.ErrnoException) => {
      if (error instanceof ApiError) throw error
      const reason = error.name === 'TimeoutError' ? `no answer in ${REQUEST_TIMEOUT_MS / 1_000} s` : (error.code ?? error.message)
      throw new CommandError(`the API server of '${context}' does not answer (${reason})`, toRun(kubectl(context, 'get nodes')))
    })
}

/** @throws CommandError naming the contexts that there are */
export function openCluster(context: string): Cluster {
  const config = configFor(context)
  const ask = createAsk(config, context)
  const pathOf = createPaths(ask)
  const locate = (reference: Reference) => pathOf(reference, reference.metadata.namespace, reference.metadata.name)
  const read = async (reference: Reference) => JSON.parse(await ask(await locate(reference))) as Live

  return {
    context,
    read: reference => read(reference).catch(unless(404, undefined)),
    exists: reference =>
      locate(reference)
        .then(path => ask(path, { accept: METADATA_ONLY }))
        .then(() => true, unless(404, false)),
    serves: kind => pathOf(kind).then(() => true, unless(404, false)),
    list: async (apiVersion, kind, namespace, labelSelector) => {
      const query = labelSelector ? `?labelSelector=${encodeURIComponent(labelSelector)}` : ''
      return JSON.parse(await ask(`${await pathOf({ apiVersion, kind }, namespace)}${query}`)).items
    },
    apply: async manifest => {
      const path = await locate(manifest)
      const before = await read(manifest).catch(unless(404, undefined))
      const contentType = 'application/apply-patch+yaml'
      const answer = await ask(`${path}?fieldManager=${FIELD_MANAGER}&force=true&fieldValidation=Strict`, {
        method: 'PATCH',
        body: manifest,
        contentType,
      })
      if (!before) return 'created'
      return before.metadata.resourceVersion === JSON.parse(answer).metadata.resourceVersion ? 'unchanged' : 'configured'
    },
    create: async manifest => {
      const path = await pathOf(manifest, manifest.metadata.namespace)
      return ask(`${path}?fieldManager=${FIELD_MANAGER}`, { method: 'POST', body: manifest }).then(() => true, unless(409, false))
    },
    patch: async (reference, change) => {
      const contentType = 'application/merge-patch+json'
      await ask(`${await locate(reference)}?fieldManager=${FIELD_MANAGER}-patch`, { method: 'PATCH', body: change, contentType })
    },
    evict: (namespace, name) => {
      const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } }
      return ask(`/api/v1/namespaces/${namespace}/pods/${name}/eviction`, { method: 'POST', body })
        .then(() => true, unless(404, true))
        .catch(unless(429, false))
    },
    remove: reference =>
      locate(reference)
        .then(path => ask(path, { method: 'DELETE', body: { propagationPolicy: 'Background' } }))
        .then(() => true, unless(404, false)),
    logTail: async (namespace, pod, container, { lines = 1, previous = false } = {}) => {
      const query = new URLSearchParams({ container, tailLines: String(lines), previous: String(previous) })
      return (await ask(`/api/v1/namespaces/${namespace}/pods/${pod}/log?${query}`).catch(() => '')).trim()
    },
    followLog: (namespace, pod, container, { lines, signal }) => {
      const query = new URLSearchParams({ container, tailLines: String(lines), follow: 'true' })
      return openStream(config, `/api/v1/namespaces/${namespace}/pods/${pod}/log?${query}`, signal)
    },
    forward: (namespace, pod, port) => forwardPort(config, namespace, pod, port),
    tokenIssuer: async () => ({
      issuer: JSON.parse(await ask('/.well-known/openid-configuration')).issuer,
      jwks: await ask('/openid/v1/jwks'),
    }),
    version: async () => JSON.parse(await ask('/version')),
  }
}

const unless =
  <T>(status: number, value: T) =>
  (error: unknown): T => {
    if (error instanceof ApiError && error.status === status) return value
    throw error
  }
