import { loadSettings } from '../infra/settings.ts'
import { inParallel, nameOf } from './cluster/apply.ts'
import { type Cluster, openCluster, type Reference } from './cluster/cluster.ts'
import { readInventory } from './cluster/inventory.ts'
import { clusterExists, deleteCluster, isOurs } from './cluster/kind.ts'
import { parseFlags } from './cluster/options.ts'
import { CommandError, createSteps, runCommand, say } from './terminal.ts'

const HELP = `npm run down [-- options]

Deletes the kind cluster that npm run up made, with all that is in it. With --context it deletes from that cluster what npm run
deploy brought there, the namespaces and their data too, and leaves everything else.

  --name NAME     name of the kind cluster (default: fairlead)
  --context NAME  a context of the kubeconfig
  --help          this text
`

const NAMESPACES_TIMEOUT_MS = 180_000

/** Everything that the inventory lists, and then the namespaces that were made. @returns what was deleted */
async function removeAll(cluster: Cluster, namespace: string, signal: AbortSignal): Promise<string[]> {
  const known = await readInventory(cluster, namespace)
  const namespaces = known.filter(({ kind }) => kind === 'Namespace')
  const removed: string[] = []
  const remove = async (reference: Reference) => {
    signal.throwIfAborted()
    if (await cluster.remove(reference)) removed.push(nameOf(reference))
  }
  await inParallel(
    known.filter(({ kind }) => kind !== 'Namespace'),
    remove,
  )
  await inParallel(namespaces, remove)
  const endsAt = performance.now() + NAMESPACES_TIMEOUT_MS
  for (const reference of namespaces) {
    while (await cluster.read(reference)) {
      if (performance.now() > endsAt)
        throw new CommandError(
          `${nameOf(reference)} is still being deleted`,
          `kubectl --context ${cluster.context} get namespace ${reference.metadata.name} -o yaml`,
        )
      await new Promise(resolve => setTimeout(resolve, 1_000))
      signal.throwIfAborted()
    }
  }
  return removed
}

await runCommand('npm run down', async signal => {
  const flags = parseFlags({
    name: { type: 'string', default: 'fairlead' },
    context: { type: 'string' },
    help: { type: 'boolean', default: false },
  })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  const { step } = createSteps()
  if (flags.context) {
    const cluster = openCluster(flags.context)
    const namespace = loadSettings(process.env).NAMESPACE
    await step(
      `what was deployed to ${flags.context}`,
      () => removeAll(cluster, namespace, signal),
      removed => `${removed.length} objects deleted`,
    )
    return 0
  }
  if (!(await clusterExists(flags.name))) {
    say(`there is no kind cluster '${flags.name}'`)
    return 0
  }
  if (!(await isOurs(flags.name)))
    throw new CommandError(`the kind cluster '${flags.name}' was not made by npm run up`, `kind delete cluster --name ${flags.name}`)
  await step(`kind cluster ${flags.name} deleted`, () => deleteCluster(flags.name, signal))
  return 0
})
