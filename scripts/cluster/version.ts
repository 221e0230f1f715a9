import { OLDEST_KUBERNETES } from '@fairlead/infra/tools'
import { kubectl, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import type { Cluster } from './cluster.ts'

/** As one number; providers write `34+`. */
const orderOf = (major: string, minor: string): number => Number.parseInt(major, 10) * 1_000 + Number.parseInt(minor, 10)

/** @throws CommandError when the API server is older than the manifests need */
export async function requireVersion(cluster: Cluster): Promise<string> {
  const { major, minor } = await cluster.version()
  const [oldestMajor = '', oldestMinor = ''] = OLDEST_KUBERNETES.split('.')
  if (orderOf(major, minor) < orderOf(oldestMajor, oldestMinor))
    throw new CommandError(
      `'${cluster.context}' runs Kubernetes ${major}.${minor}; the manifests need ${OLDEST_KUBERNETES} or newer`,
      toRun(kubectl(cluster.context, 'version')),
    )
  return `Kubernetes ${major}.${minor}`
}
