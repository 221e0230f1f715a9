import { describeImages, ensureBase, imagesFor, redirectsHttp, settingsFor } from '@fairlead/infra/tools'
import { loadApp, NO_JOURNEY } from './app.ts'
import { openCluster } from './cluster/cluster.ts'
import { crdSource, GATEWAY_API } from './cluster/crds.ts'
import { AUTHORITY_DIR, ingressUrl } from './cluster/ingress-url.ts'
import { checkTools, ensureCluster, INGRESS_PORTS, loadImages } from './cluster/kind.ts'
import { parseFlags, wholeNumber } from './cluster/options.ts'
import { buildImages, release } from './cluster/release.ts'
import { requireVersion } from './cluster/version.ts'
import { curlLines } from './journey/curl-lines.ts'
import { runJourney, type Taken } from './journey/run-journey.ts'
import { createSteps, runCommand, say } from './terminal.ts'

const HELP = `npm run up [-- options]

Brings the whole system up on a kind cluster of its own and takes its journey (infra/journey.ts) through the ingress. Run it again at
any time: it goes on where it stopped, and changes only what is not as it should be.

  --name NAME         name of the kind cluster (default: fairlead)
  --node-image IMAGE  image of its nodes (default: FAIRLEAD_NODE_IMAGE, else kind's own)
  --workers N         nodes beside the control plane, when the cluster is made (default: 0)
  --crds DIR          folder with prometheus-operator's CRDs (default: FAIRLEAD_CRDS, else its release is downloaded)
  --crds-sha256 HEX   what the download must be (default: FAIRLEAD_CRDS_SHA256)
  --gateway-crds DIR, --gateway-crds-sha256 HEX
                      the same of Gateway API, for ROUTE=gateway (default: FAIRLEAD_GATEWAY_CRDS...)
  --timeout SECONDS   how long pods may take to be ready (default: 300)
  --no-journey        do not take the journey at the end
  --json              print what was done as JSON on standard output
  --help              this text

What differs between environments comes as environment variables (infra/kit/settings/settings.ts), e.g. GRAFANA=false npm run up
`

const summaryOf = ({ title, status, ms, traceId }: Taken) => ({ step: title, status, ms, traceId })

await runCommand('npm run up', async signal => {
  const flags = parseFlags({
    name: { type: 'string', default: 'fairlead' },
    'node-image': { type: 'string', default: process.env.FAIRLEAD_NODE_IMAGE },
    workers: { type: 'string', default: '0' },
    crds: { type: 'string', default: process.env.FAIRLEAD_CRDS },
    'crds-sha256': { type: 'string', default: process.env.FAIRLEAD_CRDS_SHA256 },
    'gateway-crds': { type: 'string', default: process.env.FAIRLEAD_GATEWAY_CRDS },
    'gateway-crds-sha256': { type: 'string', default: process.env.FAIRLEAD_GATEWAY_CRDS_SHA256 },
    timeout: { type: 'string', default: '300' },
    'no-journey': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  const app = await loadApp()
  const { system, journey } = app
  const settings = settingsFor(`kind-${flags.name}`, process.env, system)
  const workers = wholeNumber('workers', flags.workers, { min: 0, max: 9 })
  const crds = crdSource(flags)
  const gatewayCrds = crdSource(flags, GATEWAY_API)
  const timeoutMs = wholeNumber('timeout', flags.timeout, { min: 1, max: 3_600 }) * 1_000
  const steps = createSteps()
  const { step } = steps

  await step(
    'tools',
    () => checkTools(signal),
    tools => tools,
  )
  const kind = { name: flags.name, nodeImage: flags['node-image'], workers, stateDir: '.data' }
  await step(
    `kind cluster ${flags.name}`,
    () => ensureCluster(kind, signal),
    made => made,
  )
  const cluster = openCluster(`kind-${flags.name}`)
  await step(
    'API server',
    () => requireVersion(cluster),
    version => version,
  )
  await step(
    'base image',
    () => ensureBase(imagesFor(settings).node, { signal }),
    () => 'present',
  )
  const images = await describeImages(app, settings)
  await step(
    'images',
    () => buildImages(images, signal),
    built => `${built} built, ${images.length - built} present`,
  )
  const references = images.map(({ reference }) => reference)
  await step(
    'images to the nodes',
    () => loadImages(flags.name, references, signal),
    loads => (loads === 0 ? 'present' : `${loads} loaded`),
  )
  const { changed, pruned } = await release(cluster, images, steps, { project: app, settings, crds, gatewayCrds, timeoutMs, signal })
  const baseUrl = ingressUrl(settings)
  const taken =
    journey && !flags['no-journey']
      ? await step(
          'the journey through the ingress',
          () => runJourney(journey, { origin: () => baseUrl, host: settings.HOST, signal }),
          all => all.map(({ title }) => title).join(', '),
        )
      : undefined

  const https = `https://${settings.HOST}:${INGRESS_PORTS.https}`
  const url = redirectsHttp(settings) ? https : `http://${settings.HOST}:${INGRESS_PORTS.http}`
  if (flags.json)
    process.stdout.write(
      `${JSON.stringify({ cluster: flags.name, url, journey: taken?.map(summaryOf), changed, pruned, steps: steps.done }, null, 2)}\n`,
    )
  else {
    say(`\nThe ${system.name} is at ${[...new Set([url, https])].join(' and ')} (CA: ${AUTHORITY_DIR}/ca.crt).${journey ? ' Try it (bash):\n' : ''}`)
    const curl = url === https ? `curl --cacert ${AUTHORITY_DIR}/ca.crt --resolve ${settings.HOST}:${INGRESS_PORTS.https}:127.0.0.1` : 'curl'
    if (journey) process.stdout.write(curlLines(journey, { origin: () => url, curl }))
    else say(`${NO_JOURNEY}, so nothing was tried`)
    say('\nnpm run status shows what runs, npm run down removes it.')
  }
  return 0
})
