import type { IncomingMessage } from 'node:http'
import timers from 'node:timers/promises'
import { onTestFinished, vi } from 'vitest'
import { COLLECTOR_CONFIG } from '../../infra/kit/constructs/tracing-sidecar.ts'
import { loadSettings } from '../../infra/kit/settings/settings.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { nameOf } from '../../scripts/cluster/apply.ts'
import type { Cluster, Live, Reference } from '../../scripts/cluster/cluster.ts'
import { UnknownKind } from '../../scripts/cluster/rest.ts'
import type { Check } from '../../scripts/doctor/check.ts'
import { type Context, createContext } from '../../scripts/doctor/context.ts'
import { images, project, system } from './acme.ts'
import { listen } from './http.ts'

export const settings = loadSettings({}, system)
const { own, platform } = synthesize({ ...project, settings, images })

/** Every object of acme. */
export const manifests = [...platform, ...own]

/** Before anything that may still be on its way. */
export const LONG_AGO = '2026-01-01T00:00:00Z'

export interface FakeCluster {
  cluster: Cluster
  /** By `Kind namespace/name`. */
  objects: Map<string, Live>
  put(...objects: Reference[]): void
  /** Changes one that is there. */
  edit(name: string, change: (live: Live) => void): void
  /** What was created and removed, in booking. */
  log: string[]
  /** Kinds that the API server does not serve. */
  unknown: Set<string>
  /** URLs of what listens at `namespace/pod:port`. */
  listening: Map<string, string>
  /** Ports that are forwarded at the moment. */
  forwarded: string[]
  /** What a pod has logged. */
  logs: (pod: Live) => string
  issuer: { issuer: string; jwks: string }
}

/** Of a label selector: `key=value`, or `!key`. */
function meets(labels: Record<string, string>, requirement: string): boolean {
  if (requirement.startsWith('!')) return !(requirement.slice(1) in labels)
  const [key = '', value] = requirement.split('=')
  return labels[key] === value
}

/** A cluster in memory that has what it is given, by default acme just as the graph gives it. */
export function fakeCluster(initial: readonly Reference[] = manifests): FakeCluster {
  const objects = new Map<string, Live>()
  const refused = () => Promise.reject(new Error('nothing that looks may change what is there'))
  const fake: FakeCluster = {
    objects,
    put: (...added) => {
      for (const object of added) objects.set(nameOf(object), structuredClone(object) as Live)
    },
    edit: (name, change) => {
      const live = objects.get(name)
      if (!live) throw new Error(`there is no ${name}`)
      change(live)
    },
    log: [],
    unknown: new Set(),
    listening: new Map(),
    forwarded: [],
    logs: () => '',
    issuer: { issuer: settings.WORKLOAD_ISSUER, jwks: '{"keys":[]}' },
    cluster: {
      context: 'kind-test',
      read: async reference => {
        const live = objects.get(nameOf(reference))
        return live?.apiVersion === reference.apiVersion ? live : undefined
      },
      exists: async reference => objects.has(nameOf(reference)),
      serves: async ({ kind }) => !fake.unknown.has(kind),
      list: async (apiVersion, kind, namespace, labelSelector = '') => {
        if (fake.unknown.has(kind)) throw new UnknownKind({ apiVersion, kind })
        const requirements = labelSelector.split(',').filter(Boolean)
        return [...objects.values()].filter(
          live =>
            live.apiVersion === apiVersion &&
            live.kind === kind &&
            (!namespace || live.metadata.namespace === namespace) &&
            requirements.every(requirement => meets(live.metadata.labels ?? {}, requirement)),
        )
      },
      create: async manifest => {
        fake.log.push(`create ${nameOf(manifest)}`)
        fake.put(manifest)
        return true
      },
      remove: async reference => {
        fake.log.push(`remove ${nameOf(reference)}`)
        return objects.delete(nameOf(reference))
      },
      logTail: async (namespace, pod) => fake.logs(objects.get(`Pod ${namespace}/${pod}`) as Live),
      forward: async (namespace, pod, port) => {
        const key = `${namespace}/${pod}:${port}`
        const url = fake.listening.get(key)
        if (!url) throw new Error(`the test has nothing that listens at ${key}`)
        fake.forwarded.push(key)
        return { url, close: async () => void fake.forwarded.splice(fake.forwarded.indexOf(key), 1) }
      },
      tokenIssuer: async () => fake.issuer,
      version: async () => ({ major: '1', minor: '34' }),
      apply: refused,
      patch: refused,
      evict: refused,
      followLog: refused,
    },
  }
  fake.put(...initial)
  return fake
}

/** Labels of a program's pods, as the graph gives them; operators give theirs at least the name. */
function labelsOf(program: string, namespace: string): Record<string, string> {
  const workload = manifests.find(
    ({ kind, metadata }) => ['Deployment', 'StatefulSet'].includes(kind) && metadata.name === program && metadata.namespace === namespace,
  )
  const template = (workload?.spec as { template: { metadata: { labels: Record<string, string> } } } | undefined)?.template
  return template?.metadata.labels ?? { 'app.kubernetes.io/name': program }
}

export interface PodOptions {
  namespace?: string
  /** Of the pod. @default the program's and `-a` */
  name?: string
  ready?: boolean
  ports?: readonly number[]
  address?: string
}

/** A pod of a program that runs since long ago. */
export function podOf(program: string, { namespace = 'acme', name = `${program}-a`, ready = true, ports = [], address }: PodOptions = {}): Live {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { ...labelsOf(program, namespace) }, creationTimestamp: LONG_AGO },
    spec: { containers: [{ name: program, ports: ports.map(containerPort => ({ containerPort })) }] },
    status: {
      podIP: address,
      startTime: LONG_AGO,
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      containerStatuses: [{ name: program, state: { running: {} } }],
    },
  }
}

/** Changes the configuration of a service's collector, as somebody would by hand. */
export const breakCollector = (fake: FakeCluster, service: string): void =>
  fake.edit(`Deployment acme/${service}`, ({ spec }) => {
    spec.template.spec.initContainers[0].env.find(({ name }: { name: string }) => name === COLLECTOR_CONFIG).value = 'receivers: [}'
  })

/** acme, looked at in a fake cluster. */
export const contextOf = ({ cluster }: FakeCluster, more: Partial<Parameters<typeof createContext>[0]> = {}): Context =>
  createContext({
    cluster,
    system,
    settings,
    manifests,
    baseUrl: 'http://127.0.0.1:9',
    tlsAddress: undefined,
    ...more,
  })

/** What the check of a name sees. */
export function runCheck(checks: readonly Check[], name: string, signal: AbortSignal = new AbortController().signal): Promise<string> {
  const check = checks.find(candidate => candidate.name === name)
  if (!check) throw new Error(`there is no check ${name}, but ${checks.map(known => known.name).join(', ')}`)
  return check.run(signal)
}

export type Routes = Record<string, (query: URLSearchParams, request: IncomingMessage) => Response>

/** A program on 127.0.0.1 that knows some paths, until the test is over. @returns its URL */
export async function answering(routes: Routes): Promise<string> {
  const server = await listen(async (request, answer) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://localhost')
    const given = routes[pathname]?.(searchParams, request) ?? new Response('404 page not found', { status: 404 })
    answer.writeHead(given.status, Object.fromEntries(given.headers)).end(await given.text())
  })
  onTestFinished(server.close)
  return server.url
}

/** A program on 127.0.0.1 that hangs up on everybody, as a forwarded port does that nobody listens at. @returns its URL */
export async function hangingUp(): Promise<string> {
  const server = await listen(request => request.socket.destroy())
  onTestFinished(server.close)
  return server.url
}

/**
 * Lets the pauses between two looks take no time, on a clock that counts them, until the test is over. Fake timers would hold up the
 * HTTP client too.
 */
export function skipPauses(): void {
  const now = performance.now.bind(performance)
  let skippedMs = 0
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + skippedMs)
  const { setTimeout } = timers
  const pauses = vi.spyOn(timers, 'setTimeout').mockImplementation((ms = 0, value, options) => {
    skippedMs += ms
    return setTimeout(0, value, options)
  })
  onTestFinished(() => {
    clock.mockRestore()
    pauses.mockRestore()
  })
}
