import { callersOf, type ServiceDefinition, secretsOf } from '@fairlead/chassis'
import { WORKLOAD_ISSUER } from '@fairlead/infra/tools'
import { type Remedy, toRun } from '../../remedy.ts'
import { type Check, Fault, NotHere } from '../check.ts'
import { type Context, until } from '../context.ts'
import { askPrometheus } from './metrics.ts'

const DAY_SECONDS = 86_400
/** Two scrapes: what a service says at its start, Prometheus knows after the first. */
const SCRAPES_MS = 35_000

/** Whether keys are the right ones, and young enough. */
export const keyChecks = (context: Context): Check[] => [
  { name: 'workload identity', run: () => issuerKeysAreCurrent(context) },
  ...context.system.services.flatMap(service =>
    secretsOf(service).flatMap(({ name, rotateDays }) =>
      rotateDays ? [{ name: `age of ${name}`, run: (signal: AbortSignal) => isYoung(context, service, name, rotateDays, signal) }] : [],
    ),
  ),
]

const kidsOf = (jwks: string): string[] => (JSON.parse(jwks) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid)

function copiedKids(jwks: string | undefined, where: string, remedy: Remedy): string[] {
  try {
    return kidsOf(jwks ?? '{"keys":[]}')
  } catch {
    throw new Fault(`${where} has no keys that can be read`, remedy)
  }
}

/** Callees verify their callers' tokens with a copy of the cluster's keys; a cluster that has new ones issues tokens that they refuse. */
async function issuerKeysAreCurrent({ cluster, system, settings, fairlead }: Context): Promise<string> {
  if (!system.services.some(service => callersOf(system, service).length > 0)) throw new NotHere('no service calls another')
  const remedy = toRun(fairlead('secrets'))
  const where = `ConfigMap ${settings.NAMESPACE}/${WORKLOAD_ISSUER}`
  const isFile = settings.WORKLOAD_JWKS === 'file'
  const live = await cluster.read({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: WORKLOAD_ISSUER, namespace: settings.NAMESPACE } })
  if (isFile && !live) throw new Fault(`${where} is not there: no callee can verify its callers' tokens`, remedy)
  const { issuer, jwks } = await cluster.tokenIssuer()
  if (issuer !== settings.WORKLOAD_ISSUER)
    throw new Fault(
      `the cluster's tokens are issued by ${issuer}, and the services expect WORKLOAD_ISSUER ${settings.WORKLOAD_ISSUER}`,
      toRun(fairlead('deploy', { WORKLOAD_ISSUER: issuer })),
    )
  if (!isFile) return `keys of ${issuer} from ${settings.WORKLOAD_JWKS}`
  const known = copiedKids(live?.data?.['jwks.json'], where, remedy)
  const unknown = kidsOf(jwks).filter(kid => !known.includes(kid))
  if (unknown.length > 0)
    throw new Fault(`${where} lacks the key ${unknown.join(', ')} that the cluster signs tokens with: calls between services are refused`, remedy)
  return `${known.length} key of ${issuer}`
}

async function isYoung(context: Context, { name }: ServiceDefinition, secret: string, rotateDays: number, signal: AbortSignal): Promise<string> {
  const query = `min(secret_since_timestamp_seconds{job="${name}",namespace="${context.settings.NAMESPACE}",secret="${secret}"})`
  const look = async () => {
    const { result } = await askPrometheus<{ result: { value: [number, string] }[] }>(context, `/api/v1/query?${new URLSearchParams({ query })}`)
    return result[0]?.value[1]
  }
  const since = await until(look, found => found !== undefined, SCRAPES_MS, signal)
  if (since === undefined)
    throw new Fault(`nobody says since when ${secret} is in use, so that no alert asks for a new one`, {
      advice: `main.ts of ${name} has to call metrics.secretSince('${secret}', ...)`,
      commands: [context.fairlead(`logs ${name}`)],
    })
  const days = Math.max(0, (Date.now() / 1_000 - Number(since)) / DAY_SECONDS)
  if (days > rotateDays)
    throw new Fault(`${secret} is in use for ${Math.floor(days)} days; it is to be rotated after ${rotateDays}`, {
      page: `${context.settings.RUNBOOKS}/secret-overdue.md`,
    })
  return `${Math.floor(days)} of ${rotateDays} days`
}
