import { describeImages, ensureBase, imagesFor, settingsFor } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { openCluster } from '../cluster/cluster.ts'
import { crdSource, GATEWAY_API } from '../cluster/crds.ts'
import { checkTools, loadImages } from '../cluster/kind.ts'
import { buildImages, release } from '../cluster/release.ts'
import { requireVersion } from '../cluster/version.ts'
import { defineCommand } from '../command.ts'
import { createSteps, say } from '../terminal.ts'
import { CRDS, CRDS_SHA256, GATEWAY_CRDS, GATEWAY_CRDS_SHA256, JSON_OUTPUT, SETTINGS, TARGET, TIMEOUT, targetOf } from './options.ts'

export const deploy = defineCommand({
  name: 'deploy',
  summary: 'Bring the system to a cluster, and follow its rollouts',
  description: `Brings the system to a cluster that is there, and follows its rollouts. On a kind cluster the images are built and loaded; any
other must be able to pull them.

To any cluster but one of kind (a context kind-...) only the services are brought, and attached to the ingress controller, Prometheus and
tracing backend that it has: INGRESS_CLASS, INGRESS_NAMESPACE, MONITORING_NAMESPACE, TRACING_NAMESPACE and OTLP_ENDPOINT name them.
PLATFORM=bundled brings these too. ${SETTINGS}`,
  examples: [
    'npx fairlead deploy --context kind-fairlead',
    'PLATFORM=bundled IMAGE_REGISTRY=registry.example/acme npx fairlead deploy --context NAME',
  ],
  options: command =>
    command
      .addOption(TARGET)
      .addOption(TIMEOUT)
      .addOption(CRDS)
      .addOption(CRDS_SHA256)
      .addOption(GATEWAY_CRDS)
      .addOption(GATEWAY_CRDS_SHA256)
      .addOption(JSON_OUTPUT),
  run: async (flags, { interrupts }) => {
    const context = targetOf(flags.context)
    const app = await loadApp()
    const cluster = openCluster(context)
    const settings = settingsFor(context, process.env, app.system)
    const crds = crdSource({ folder: flags.crds, sha256: flags.crdsSha256 })
    const gatewayCrds = crdSource({ folder: flags.gatewayCrds, sha256: flags.gatewayCrdsSha256 }, GATEWAY_API)
    const signal = interrupts()
    const steps = createSteps(signal)
    await steps.step(
      'API server',
      () => requireVersion(cluster),
      version => version,
    )
    const builds = context.startsWith('kind-')
    if (builds) {
      await steps.step(
        'tools',
        () => checkTools(signal),
        tools => tools,
      )
      await steps.step(
        'base image',
        () => ensureBase(imagesFor(settings).node, { signal }),
        () => 'present',
      )
    }
    const images = await describeImages(app, settings)
    const references = images.map(({ reference }) => reference)
    if (builds) {
      await steps.step(
        'images',
        () => buildImages(images, signal),
        built => `${built} built, ${images.length - built} present`,
      )
      await steps.step(
        'images to the nodes',
        () => loadImages(context.slice('kind-'.length), references, signal),
        loads => `${loads} loaded`,
      )
    } else say(`the cluster must be able to pull ${references.join(' and ')}: npx fairlead images builds them, docker push brings them there`)
    const options = { project: app, settings, crds, gatewayCrds, timeoutMs: flags.timeout * 1_000, signal }
    const { changed, pruned } = await release(cluster, images, steps, options)
    if (flags.json) process.stdout.write(`${JSON.stringify({ context, changed, pruned, steps: steps.done }, null, 2)}\n`)
    return 0
  },
})
