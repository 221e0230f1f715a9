import { Option } from '@commander-js/extra-typings'
import { type App, describeImages, ensureBase, imagesFor, redirectsHttp, type Settings, settingsFor, usesStandIn } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { type Cluster, openCluster } from '../cluster/cluster.ts'
import { crdSource, GATEWAY_API } from '../cluster/crds.ts'
import { AUTHORITY_DIR, ingressUrl } from '../cluster/ingress-url.ts'
import { checkTools, ensureCluster, INGRESS_PORTS, loadImages } from '../cluster/kind.ts'
import { buildImages, release } from '../cluster/release.ts'
import { requireVersion } from '../cluster/version.ts'
import { defineCommand, wholeNumber } from '../command.ts'
import { curlLines } from '../journey/curl-lines.ts'
import { obstacle } from '../journey/obstacle.ts'
import { runJourney } from '../journey/run-journey.ts'
import type { Taken } from '../journey/take-step.ts'
import { tokenInBash, userTokensOn } from '../journey/user-tokens.ts'
import { fairlead } from '../remedy.ts'
import { createSteps, say, yellow } from '../terminal.ts'
import { CRDS, CRDS_SHA256, GATEWAY_CRDS, GATEWAY_CRDS_SHA256, JSON_OUTPUT, SETTINGS, TIMEOUT } from './options.ts'

const summaryOf = ({ title, status, ms, traceId }: Taken) => ({ step: title, status, ms, traceId })

/** @returns the steps that were taken; none when something is in the way, which is said */
async function takeJourney(
  { system, journey }: App,
  cluster: Cluster,
  settings: Settings,
  { step }: ReturnType<typeof createSteps>,
  signal: AbortSignal,
) {
  const userToken = await userTokensOn(system, settings, process.env)
  const untaken = obstacle(journey, userToken)
  if (untaken) say(`${yellow('-')} the journey through the ingress: ${untaken}`)
  if (untaken || !journey) return undefined
  const baseUrl = ingressUrl(settings)
  const logs = (service: string) => fairlead(cluster.context, `logs ${service}`)
  return step(
    'the journey through the ingress',
    () => runJourney(journey, { origin: () => baseUrl, host: settings.HOST, signal, logs, userToken }),
    all => all.map(({ title }) => title).join(', '),
  )
}

interface Addresses {
  /** Where clients go. */
  url: string
  https: string
}

function addressesOf(settings: Settings): Addresses {
  const https = `https://${settings.HOST}:${INGRESS_PORTS.https}`
  return { url: redirectsHttp(settings) ? https : `http://${settings.HOST}:${INGRESS_PORTS.http}`, https }
}

function tellHowToUse({ system, journey }: App, settings: Settings, { url, https }: Addresses): void {
  say(`\nThe ${system.name} is at ${[...new Set([url, https])].join(' and ')} (CA: ${AUTHORITY_DIR}/ca.crt).${journey ? ' Try it (bash):\n' : ''}`)
  const curl = url === https ? `curl --cacert ${AUTHORITY_DIR}/ca.crt --resolve ${settings.HOST}:${INGRESS_PORTS.https}:127.0.0.1` : 'curl'
  if (journey) process.stdout.write(curlLines(journey, { origin: () => url, curl, ...(usesStandIn(system, settings) && { userToken: tokenInBash }) }))
  say('\nnpx fairlead status shows what runs, npx fairlead down removes it.')
}

export const up = defineCommand({
  name: 'up',
  summary: 'Bring the whole system up on a kind cluster of its own',
  description: `Brings the whole system up on a kind cluster of its own and takes its journey (infra/journey.ts) through the ingress. Run it again
at any time: it goes on where it stopped, and changes only what is not as it should be. ${SETTINGS}`,
  examples: ['npx fairlead up', 'npx fairlead up --name second --workers 2', 'GRAFANA=false npx fairlead up'],
  options: command =>
    command
      .option('--name <name>', 'name of the kind cluster', 'fairlead')
      .addOption(new Option('--node-image <image>', "image of its nodes, instead of kind's own").env('FAIRLEAD_NODE_IMAGE'))
      .option('--workers <count>', 'nodes beside the control plane, when the cluster is made', wholeNumber({ min: 0, max: 9 }), 0)
      .addOption(TIMEOUT)
      .addOption(CRDS)
      .addOption(CRDS_SHA256)
      .addOption(GATEWAY_CRDS)
      .addOption(GATEWAY_CRDS_SHA256)
      .option(
        '--no-journey',
        'do not take the journey at the end; one with user() needs an access token in FAIRLEAD_USER_TOKEN where no stand-in issues them',
      )
      .addOption(JSON_OUTPUT),
  run: async (flags, { interrupts }) => {
    const { name } = flags
    const app = await loadApp()
    const { system } = app
    const settings = settingsFor(`kind-${name}`, process.env, system)
    const crds = crdSource({ folder: flags.crds, sha256: flags.crdsSha256 })
    const gatewayCrds = crdSource({ folder: flags.gatewayCrds, sha256: flags.gatewayCrdsSha256 }, GATEWAY_API)
    const signal = interrupts()
    const steps = createSteps(signal)
    const { step } = steps

    await step(
      'tools',
      () => checkTools(signal),
      tools => tools,
    )
    const kind = { name, system: system.name, nodeImage: flags.nodeImage, workers: flags.workers, stateDir: '.data' }
    await step(
      `kind cluster ${name}`,
      () => ensureCluster(kind, signal),
      made => made,
    )
    const cluster = openCluster(`kind-${name}`)
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
      () => loadImages(name, references, signal),
      loads => (loads === 0 ? 'present' : `${loads} loaded`),
    )
    const options = { project: app, settings, crds, gatewayCrds, timeoutMs: flags.timeout * 1_000, signal }
    const { changed, pruned } = await release(cluster, images, steps, options)
    const taken = flags.journey ? await takeJourney(app, cluster, settings, steps, signal) : undefined
    const addresses = addressesOf(settings)
    if (flags.json) {
      const outcome = { cluster: name, url: addresses.url, journey: taken?.map(summaryOf), changed, pruned, steps: steps.done }
      process.stdout.write(`${JSON.stringify(outcome, null, 2)}\n`)
    } else tellHowToUse(app, settings, addresses)
    return 0
  },
})
