import type { Journey } from '@fairlead/chassis'
import { imageReferences, type Settings, settingsFor, synthesize } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { withApiServer } from '../cluster/api-server.ts'
import { openCluster } from '../cluster/cluster.ts'
import { ingressUrl } from '../cluster/ingress-url.ts'
import { INGRESS_PORTS, wasMadeHere } from '../cluster/kind.ts'
import { defineCommand } from '../command.ts'
import { type Check, type Result, runChecks } from '../doctor/check.ts'
import { clusterChecks } from '../doctor/checks/cluster.ts'
import { databaseChecks } from '../doctor/checks/database.ts'
import { ingressChecks } from '../doctor/checks/ingress.ts'
import { createTrip, journeyChecks } from '../doctor/checks/journey.ts'
import { keyChecks } from '../doctor/checks/keys.ts'
import { metricsChecks } from '../doctor/checks/metrics.ts'
import { networkChecks } from '../doctor/checks/network.ts'
import { traceChecks } from '../doctor/checks/traces.ts'
import { workloadChecks } from '../doctor/checks/workloads.ts'
import { type Context, createContext } from '../doctor/context.ts'
import { said, withDeployed } from '../doctor/deployed-settings.ts'
import { type UserTokens, userTokensOn } from '../journey/user-tokens.ts'
import { linesOf, toRun } from '../remedy.ts'
import { dim, green, printable, red, say, seconds, usageError, yellow } from '../terminal.ts'
import { CONTEXT, JSON_OUTPUT } from './options.ts'

/** From the outside in: the first that fails is the one to begin with. */
function checksOf(context: Context, journey: Journey | undefined, userTokens: UserTokens | undefined): Check[] {
  const trip = createTrip(context, journey, userTokens)
  return [
    ...clusterChecks(context),
    ...workloadChecks(context),
    ...databaseChecks(context),
    ...networkChecks(context),
    ...keyChecks(context),
    ...ingressChecks(context),
    ...journeyChecks(context, trip),
    ...metricsChecks(context),
    ...traceChecks(context, trip),
  ]
}

interface Addresses {
  baseUrl: string
  tlsAddress: string | undefined
}

async function addresses(context: string, url: string | undefined, choose: () => Settings): Promise<Addresses> {
  if (url === undefined) {
    // Another kind cluster publishes other ports, and those of ours may be there as well. Whether docker answers has a check of its own.
    if (!context.startsWith('kind-') || (await wasMadeHere(context.slice('kind-'.length))) === false)
      throw usageError('--url is missing: where is the ingress reached?')
    return { baseUrl: ingressUrl(choose()), tlsAddress: `127.0.0.1:${INGRESS_PORTS.https}` }
  }
  const parsed = URL.parse(url)
  if (!parsed || !/^https?:$/.test(parsed.protocol)) throw usageError(`--url ${url} is not an http or https URL`)
  return { baseUrl: parsed.origin, tlsAddress: parsed.protocol === 'https:' ? `${parsed.hostname}:${parsed.port || 443}` : undefined }
}

const MARKS = { passed: green('✓'), failed: red('✗'), skipped: yellow('-') }

function show({ name, outcome, message, remedy, ms }: Result): void {
  say(`${MARKS[outcome]} ${name}: ${message} ${dim(seconds(ms))}`)
  if (remedy) for (const line of linesOf(remedy)) say(`    ${printable(line)}`)
}

export const doctor = defineCommand({
  name: 'doctor',
  summary: 'Try what a deployed system promises, and tell what to do',
  description: `Tries what the system promises, from the outside in, and says of each thing that does not work what is wrong and what to do. It
asks through the ingress, starts a pod for each program for a few seconds to see what the network lets through, and asks Prometheus,
Alertmanager and Jaeger. What stays is what one journey (infra/journey.ts) leaves behind; --no-journey takes none. Ends with 1 when
something does not work.

It needs the rights to list and read what was deployed, nodes and their Secrets' names, to forward ports, and to create and delete pods.`,
  examples: ['npx fairlead doctor', "PLATFORM=bundled npx fairlead doctor --context NAME --url https://acme.example.org --only 'scrape,trace'"],
  options: command =>
    command
      .addOption(CONTEXT)
      .option(
        '--url <url>',
        `where the ingress is reached (default for a cluster of up: http://127.0.0.1:${INGRESS_PORTS.http}, and TLS at ${INGRESS_PORTS.https})`,
      )
      .option('--only <words>', 'only checks whose name contains one of these, separated by commas')
      .option(
        '--no-journey',
        'take no journey, and look for none of its traces; one with user() needs an access token in FAIRLEAD_USER_TOKEN where no stand-in issues them',
      )
      .addOption(JSON_OUTPUT),
  run: async (flags, { interrupts }) => {
    const { context } = flags
    const app = await loadApp()
    const cluster = openCluster(context)
    const env = await withDeployed(cluster, app.system, process.env)
    const choose = () => settingsFor(context, env, app.system)
    const at = await addresses(context, flags.url, choose)
    const chosen = choose()
    // That the API server answers has a check of its own.
    const settings = await withApiServer(cluster, chosen).catch(() => chosen)
    const { own, platform } = synthesize({ ...app, settings, images: await imageReferences(app, settings) })
    const checked = createContext({
      cluster,
      system: app.system,
      settings,
      manifests: [...platform, ...own],
      ...at,
      chosen: said(env, settings),
    })
    const words = flags.only?.split(',').filter(Boolean)
    const userTokens = await userTokensOn(app.system, settings, process.env)
    const isMeant = ({ name, ofJourney }: Check) => !(ofJourney && !flags.journey) && (!words || words.some(word => name.includes(word)))
    const checks = checksOf(checked, app.journey, userTokens).filter(isMeant)
    if (checks.length === 0) throw usageError(`--only ${flags.only} names no check`)
    const signal = interrupts()
    try {
      const results = await runChecks(checks, { signal, show, otherwise: toRun(checked.fairlead('status')) })
      const failed = results.filter(({ outcome }) => outcome === 'failed')
      if (flags.json) process.stdout.write(`${JSON.stringify({ context, healthy: failed.length === 0, checks: results }, null, 2)}\n`)
      const [first] = failed
      say(
        first
          ? `${red(`${failed.length} of ${results.length} checks failed`)}; begin with ${first.name}`
          : green(`all ${results.length} checks passed`),
      )
      return first ? 1 : 0
    } finally {
      await checked.close()
    }
  },
})
