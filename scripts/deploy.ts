import { describeImages, ensureBase, imagesFor, settingsFor } from '@fairlead/infra/tools'
import { loadApp } from './app.ts'
import { openCluster } from './cluster/cluster.ts'
import { crdSource, GATEWAY_API } from './cluster/crds.ts'
import { checkTools, loadImages } from './cluster/kind.ts'
import { parseFlags, usageError, wholeNumber } from './cluster/options.ts'
import { buildImages, release } from './cluster/release.ts'
import { requireVersion } from './cluster/version.ts'
import { createSteps, runCommand, say } from './terminal.ts'

const HELP = `npm run deploy -- --context NAME [options]

Brings the system to a cluster that is there, and follows its rollouts. On a kind cluster the images are built and loaded; any
other must be able to pull them: IMAGE_REGISTRY=registry.example/shop, pushed before.

  --context NAME     a context of the kubeconfig; no other is ever touched
  --crds DIR         folder with prometheus-operator's CRDs (default: FAIRLEAD_CRDS, else its release is downloaded)
  --crds-sha256 HEX  what the download must be (default: FAIRLEAD_CRDS_SHA256)
  --gateway-crds DIR, --gateway-crds-sha256 HEX
                     the same of Gateway API, for ROUTE=gateway (default: FAIRLEAD_GATEWAY_CRDS...)
  --timeout SECONDS  how long pods may take to be ready (default: 300)
  --json             print what was done as JSON on standard output
  --help             this text

What differs between environments comes as environment variables (infra/kit/settings/settings.ts). To any cluster but one of kind (a context
kind-...) only the services are brought, and attached to the ingress controller, Prometheus and tracing backend that it has; say which
they are. PLATFORM=bundled brings these too.
`

await runCommand('npm run deploy', async signal => {
  const flags = parseFlags({
    context: { type: 'string' },
    crds: { type: 'string', default: process.env.FAIRLEAD_CRDS },
    'crds-sha256': { type: 'string', default: process.env.FAIRLEAD_CRDS_SHA256 },
    'gateway-crds': { type: 'string', default: process.env.FAIRLEAD_GATEWAY_CRDS },
    'gateway-crds-sha256': { type: 'string', default: process.env.FAIRLEAD_GATEWAY_CRDS_SHA256 },
    timeout: { type: 'string', default: '300' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  if (!flags.context) throw usageError('--context is missing: name the cluster', 'kubectl config get-contexts')
  const cluster = openCluster(flags.context)
  const app = await loadApp()
  const settings = settingsFor(flags.context, process.env, app.system)
  const crds = crdSource(flags)
  const gatewayCrds = crdSource(flags, GATEWAY_API)
  const timeoutMs = wholeNumber('timeout', flags.timeout, { min: 1, max: 3_600 }) * 1_000
  const steps = createSteps()
  await steps.step(
    'API server',
    () => requireVersion(cluster),
    version => version,
  )
  const builds = flags.context.startsWith('kind-')
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
      () => loadImages(flags.context?.slice('kind-'.length) ?? '', references, signal),
      loads => `${loads} loaded`,
    )
  } else say(`the cluster must be able to pull ${references.join(' and ')}: npm run images builds them, docker push brings them there`)
  const { changed, pruned } = await release(cluster, images, steps, { project: app, settings, crds, gatewayCrds, timeoutMs, signal })
  if (flags.json) process.stdout.write(`${JSON.stringify({ context: flags.context, changed, pruned, steps: steps.done }, null, 2)}\n`)
  return 0
})
