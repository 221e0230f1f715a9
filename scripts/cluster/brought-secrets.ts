import { OTLP_HEADERS_SECRET, type Settings } from '@fairlead/infra/tools'
import { kubectl, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import type { Cluster, Live } from './cluster.ts'

interface Brought {
  name: string
  namespace: string
  /** The setting that names it. */
  setting: string
  keys: readonly string[]
}

/** Secrets that only the owner of the cluster can make: without them pods would wait for ever, and nobody say for what. */
const brought = ({ NAMESPACE, MONITORING_NAMESPACE, OTLP_HEADERS, ALERTS_SECRET }: Settings): Brought[] => [
  ...(OTLP_HEADERS.length > 0 ? [{ name: OTLP_HEADERS_SECRET, namespace: NAMESPACE, setting: 'OTLP_HEADERS', keys: OTLP_HEADERS }] : []),
  ...(ALERTS_SECRET ? [{ name: ALERTS_SECRET, namespace: MONITORING_NAMESPACE, setting: 'ALERTS_SECRET', keys: ['alertmanager.yaml'] }] : []),
]

async function requireSecret(cluster: Cluster, { name, namespace, setting, keys }: Brought): Promise<void> {
  const live = await cluster.read({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace } })
  const missing = keys.filter(key => !textOf(live, key))
  if (missing.length > 0)
    throw new CommandError(
      `Secret ${namespace}/${name}, which ${setting} asks for, ${live ? `lacks ${missing.join(', ')}` : 'is not there'}: make it`,
      toRun(kubectl(cluster.context, `-n ${namespace} create secret generic ${name} ${keys.map(key => `--from-file=${key}`).join(' ')}`)),
    )
}

/** @throws CommandError naming the first of them that is not there or lacks a key, and how it is made */
export async function requireBrought(cluster: Cluster, settings: Settings): Promise<void> {
  for (const wanted of brought(settings)) await requireSecret(cluster, wanted)
}

export const textOf = (secret: Live | undefined, key: string): string | undefined => {
  const encoded = secret?.data?.[key]
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString('utf8')
}
