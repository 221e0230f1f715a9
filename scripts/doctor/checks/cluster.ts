import { checkTools } from '../../cluster/kind.ts'
import { toRun } from '../../remedy.ts'
import { type Check, Fault, NotHere } from '../check.ts'
import type { Context } from '../context.ts'

/** What everything else stands on. */
export const clusterChecks = (context: Context): Check[] => [
  {
    name: 'tools',
    run: async signal => {
      if (!context.cluster.context.startsWith('kind-')) throw new NotHere('docker and kind are for clusters of this machine')
      return checkTools(signal)
    },
  },
  { name: 'nodes', run: () => nodesAreReady(context) },
  { name: 'kinds', run: () => kindsAreKnown(context) },
]

async function nodesAreReady({ cluster, kubectl }: Context): Promise<string> {
  const nodes = await cluster.list('v1', 'Node')
  for (const { metadata, status } of nodes) {
    const ready = status.conditions.find(({ type }: { type: string }) => type === 'Ready')
    if (ready?.status !== 'True')
      throw new Fault(`node ${metadata.name} is not ready: ${ready?.message ?? 'it says nothing'}`, toRun(kubectl(`describe node ${metadata.name}`)))
  }
  return `${nodes.length} ready, Kubernetes ${nodes[0]?.status.nodeInfo.kubeletVersion}`
}

/** Whether the API server serves every kind of object that the graph has. */
async function kindsAreKnown({ cluster, manifests, fairlead }: Context): Promise<string> {
  const kinds = new Map(manifests.map(({ apiVersion, kind }) => [`${kind}.${apiVersion}`, { apiVersion, kind }]))
  const unknown: string[] = []
  for (const [name, kind] of kinds) if (!(await cluster.serves(kind))) unknown.push(name)
  if (unknown.length > 0)
    throw new Fault(`the cluster knows no ${unknown.join(' and no ')}: the CustomResourceDefinition is missing`, toRun(fairlead('deploy')))
  return `${kinds.size} known`
}
