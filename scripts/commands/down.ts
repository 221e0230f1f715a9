import { someSettings } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { openCluster } from '../cluster/cluster.ts'
import { anotherSystemIn, clusterExists, deleteCluster, isOurs } from '../cluster/kind.ts'
import { tearDown } from '../cluster/tear-down.ts'
import { defineCommand } from '../command.ts'
import { toRun } from '../remedy.ts'
import { CommandError, createSteps, say } from '../terminal.ts'

const TIMEOUT_MS = 180_000

export const down = defineCommand({
  name: 'down',
  summary: 'Delete the cluster of up, or what deploy brought to another',
  description: `Deletes the kind cluster that up made, with all that is in it. With --context it deletes from that cluster what deploy brought
there: its data too, and the namespaces that were made for it. A namespace that had been there before stays.`,
  examples: ['npx fairlead down', 'npx fairlead down --context NAME'],
  options: command =>
    command
      .option('--name <name>', 'name of the kind cluster', 'fairlead')
      .option('--context <name>', 'delete what was deployed to this context of the kubeconfig instead'),
  run: async ({ name, context }, { interrupts }) => {
    if (context) {
      const { system } = await loadApp()
      const cluster = openCluster(context)
      const namespace = someSettings(process.env, system, 'NAMESPACE').NAMESPACE
      const signal = interrupts()
      await createSteps(signal).step(
        `what was deployed to ${context}`,
        () => tearDown(cluster, { system: system.name, namespace }, { timeoutMs: TIMEOUT_MS, signal }),
        ({ removed, kept }) =>
          `${removed.length} objects deleted${kept.length > 0 ? `; ${kept.join(', ')} had been there before, and ${kept.length > 1 ? 'stay' : 'stays'}` : ''}`,
      )
      return 0
    }
    if (!(await clusterExists(name))) {
      say(`there is no kind cluster '${name}'`)
      return 0
    }
    if (!(await isOurs(name)))
      throw new CommandError(`the kind cluster '${name}' was not made by fairlead up`, toRun(`kind delete cluster --name ${name}`))
    const app = await loadApp().catch(() => undefined)
    const other = app && (await anotherSystemIn(name, app.system.name))
    if (other)
      throw new CommandError(`the kind cluster '${name}' runs the system ${other}`, {
        advice: 'run npx fairlead down in its folder',
        commands: [`kind delete cluster --name ${name}`],
      })
    const signal = interrupts()
    await createSteps(signal).step(`kind cluster ${name} deleted`, () => deleteCluster(name, signal))
    return 0
  },
})
