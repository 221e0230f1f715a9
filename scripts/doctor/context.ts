import type { SystemDefinition } from '@fairlead/chassis'
import type { Manifest, Settings } from '@fairlead/infra/tools'
import type { Cluster, Live } from '../cluster/cluster.ts'
import type { Forwarded } from '../cluster/forward.ts'
import { isReady } from '../cluster/rollout.ts'
import { pause } from '../pause.ts'
import { fairlead, kubectl, type Remedy, toRun } from '../remedy.ts'
import { Fault, NotHere } from './check.ts'
import { createDrift, type Drift } from './drift.ts'

/** What is looked at, and the ways to it. */
export interface Context {
  cluster: Cluster
  system: SystemDefinition
  settings: Settings
  /** Every object as the graph gives it. */
  manifests: readonly Manifest[]
  drift: Drift
  /** Where the ingress is reached, e.g. `http://127.0.0.1:8000`. */
  baseUrl: string
  /** Where it speaks TLS, `host:port`; nowhere without one. */
  tlsAddress: string | undefined
  /** A command of kubectl for this cluster. */
  kubectl(words: string): string
  /** A command of ours for this cluster and these settings. */
  fairlead(words: string, more?: Record<string, string>): string
  /** Ready pods of a program, by its name. */
  pods(name: string, namespace: string): Promise<Live[]>
  /**
   * JSON of a program that answers HTTP in one of its pods.
   * @throws NotHere when there is no such program here, AnswerError when it answers something else, Fault when it cannot be asked
   */
  ask(program: Program, path: string): Promise<unknown>
  /** A fault with its likely causes: objects that are not as the graph gives them, which a deploy puts back; without any, `otherwise` is what to do. */
  blame(symptom: string, about: (manifest: Manifest) => boolean, otherwise: Remedy): Promise<Fault>
  close(): Promise<void>
}

export interface Program {
  name: string
  namespace: string
  port: number
}

/** An answer that is none of 2xx. */
export class AnswerError extends Fault {
  readonly status: number
  constructor(status: number, message: string, remedy: Remedy) {
    super(message, remedy)
    this.status = status
  }
}

const ANSWER_MS = 10_000

export interface ContextOptions extends Pick<Context, 'cluster' | 'system' | 'settings' | 'manifests' | 'baseUrl' | 'tlsAddress'> {
  /** Settings that somebody chose: without them a deploy would bring another system than the one that is looked at. @default none */
  chosen?: Record<string, string>
}

export function createContext({ chosen = {}, ...options }: ContextOptions): Context {
  const { cluster, manifests } = options
  const command = {
    kubectl: (words: string) => kubectl(cluster.context, words),
    fairlead: (words: string, more: Record<string, string> = {}) => fairlead(cluster.context, words, { ...chosen, ...more }),
  }
  const logsOf = ({ name, namespace }: Program) => toRun(command.kubectl(`-n ${namespace} logs -l app.kubernetes.io/name=${name}`))
  const drift = createDrift(cluster, manifests)
  const open = new Map<string, Promise<Forwarded>>()

  const pods = async (name: string, namespace: string) => {
    const found = await cluster.list('v1', 'Pod', namespace, `app.kubernetes.io/name=${name}`)
    return found.filter(pod => isReady(pod) && !pod.metadata.deletionTimestamp)
  }

  const forward = async ({ name, namespace, port }: Program): Promise<Forwarded> => {
    const all = await cluster.list('v1', 'Pod', namespace, `app.kubernetes.io/name=${name}`)
    const [pod] = await pods(name, namespace)
    if (!pod && all.length === 0 && !manifests.some(({ metadata }) => metadata.name === name && metadata.namespace === namespace))
      throw new NotHere(`there is no ${name} in namespace ${namespace}`)
    if (!pod)
      throw new Fault(
        `${namespace}/${name} has ${all.length === 0 ? 'no pod' : 'no ready pod'}`,
        toRun(command.fairlead('status'), command.fairlead('deploy')),
      )
    return cluster.forward(namespace, pod.metadata.name, port)
  }

  const blame: Context['blame'] = async (symptom, about, otherwise) => {
    const causes = await drift(about)
    return new Fault(symptom, causes.length > 0 ? toRun(command.fairlead('deploy')) : otherwise, causes)
  }

  return {
    ...options,
    ...command,
    drift,
    pods,
    ask: async (program, path) => {
      const key = `${program.namespace}/${program.name}:${program.port}`
      const forwarded = open.get(key) ?? forward(program)
      open.set(key, forwarded)
      // Whoever asks again may find a pod that has become ready.
      forwarded.catch(() => open.delete(key))
      const { url } = await forwarded
      const answer = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(ANSWER_MS) }).catch((error: Error) => {
        throw new Fault(`${key} does not answer (${((error.cause as Error | undefined) ?? error).message})`, logsOf(program))
      })
      const text = await answer.text()
      if (!answer.ok)
        throw new AnswerError(answer.status, `${key}${path.split('?')[0]} answered ${answer.status}: ${text.trim().slice(0, 200)}`, logsOf(program))
      return /json/.test(answer.headers.get('content-type') ?? '') ? JSON.parse(text) : text
    },
    blame,
    close: async () => {
      for (const forwarded of open.values()) await forwarded.then(({ close }) => close()).catch(() => {})
    },
  }
}

/**
 * Asks until the answer is good or the time is over, for what takes a moment by nature.
 * @returns the first good answer, or the last
 */
export async function until<T>(ask: () => Promise<T>, good: (answer: T) => boolean, timeoutMs: number, signal: AbortSignal): Promise<T> {
  const endsAt = performance.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (good(answer) || performance.now() > endsAt) return answer
    await pause(1_000, signal)
  }
}
