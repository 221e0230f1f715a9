import { someSettings } from '@fairlead/infra/tools'
import { system } from '../infra/system.ts'
import { openCluster } from './cluster/cluster.ts'
import { clusterExists, deleteCluster, isOurs } from './cluster/kind.ts'
import { parseFlags } from './cluster/options.ts'
import { tearDown } from './cluster/tear-down.ts'
import { CommandError, createSteps, runCommand, say } from './terminal.ts'

const HELP = `npm run down [-- options]

Deletes the kind cluster that npm run up made, with all that is in it. With --context it deletes from that cluster what npm run
deploy brought there, its data and the namespaces that were made for it too. A namespace that had been there before stays.

  --name NAME     name of the kind cluster (default: fairlead)
  --context NAME  a context of the kubeconfig
  --help          this text
`

const TIMEOUT_MS = 180_000

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
    const namespace = someSettings(process.env, 'NAMESPACE').NAMESPACE
    await step(
      `what was deployed to ${flags.context}`,
      () => tearDown(cluster, { system: system.name, namespace }, { timeoutMs: TIMEOUT_MS, signal }),
      ({ removed, kept }) =>
        `${removed.length} objects deleted${kept.length > 0 ? `; ${kept.join(', ')} had been there before, and ${kept.length > 1 ? 'stay' : 'stays'}` : ''}`,
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
