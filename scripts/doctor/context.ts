import type { SystemDefinition } from '@fairlead/chassis'
import type { Manifest, Settings } from '@fairlead/infra/tools'
import type { Cluster, Live } from '../cluster/cluster.ts'
import type { Forwarded } from '../cluster/forward.ts'
import { isReady } from '../cluster/rollout.ts'
import { CommandError } from '../terminal.ts'
import { NotHere } from './check.ts'
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
  /** Command that puts every object back to what the graph gives. */
  deploy: string
  /** Ready pods of a program, by its name. */
  pods(name: string, namespace: string): Promise<Live[]>
  /**
   * JSON of a program that answers HTTP in one of its pods.
   * @throws NotHere when there is no such program here, CommandError when it has no ready pod or does not answer
   */
  ask(program: Program, path: string): Promise<unknown>
  /** CommandError that names its likely cause: objects that are not as the graph gives them, else `otherwise`. */
  blame(symptom: string, about: (manifest: Manifest) => boolean, otherwise: string): Promise<CommandError>
  close(): Promise<void>
}

export interface Program {
  name: string
  namespace: string
  port: number
}

const ANSWER_MS = 10_000

export function createContext(options: Omit<Context, 'drift' | 'pods' | 'ask' | 'blame' | 'close'>): Context {
  const { cluster, manifests, deploy } = options
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
      throw new CommandError(
        `${namespace}/${name} has ${all.length === 0 ? 'no pod' : 'no ready pod'}`,
        `npx fairlead status, or put it back: ${deploy}`,
      )
    return cluster.forward(namespace, pod.metadata.name, port)
  }

  const blame: Context['blame'] = async (symptom, about, otherwise) => {
    const causes = await drift(about)
    if (causes.length === 0) return new CommandError(symptom, otherwise)
    return new CommandError(
      `${symptom}; the cause: ${causes.slice(0, 3).join('; ')}${causes.length > 3 ? `; and ${causes.length - 3} more` : ''}`,
      deploy,
    )
  }

  return {
    ...options,
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
        throw new CommandError(
          `${key} does not answer (${((error.cause as Error | undefined) ?? error).message})`,
          `kubectl -n ${program.namespace} logs -l app.kubernetes.io/name=${program.name}`,
        )
      })
      const text = await answer.text()
      if (!answer.ok)
        throw new CommandError(
          `${key}${path.split('?')[0]} answered ${answer.status}: ${text.trim().slice(0, 200)}`,
          `kubectl -n ${program.namespace} logs -l app.kubernetes.io/name=${program.name}`,
        )
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
    signal.throwIfAborted()
    await new Promise(resolve => setTimeout(resolve, 1_000))
  }
}
