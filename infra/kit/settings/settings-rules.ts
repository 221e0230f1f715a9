import type { SystemDefinition } from '@fairlead/chassis'
import { registryProblems } from './callees.ts'
import { isReserved } from './fields.ts'
import { ALERTMANAGER_SECRET, JAEGER } from './ports.ts'
import type { Settings } from './settings.ts'

/** What settings that are right one by one do not make together. */
export const settingsProblems = (settings: Settings, { services }: Pick<SystemDefinition, 'services'>): string[] => [
  ...registryProblems(settings, { services }),
  ...namespaces(settings),
  ...(services.some(({ database }) => database !== undefined) ? databases(settings) : []),
  ...issuer(settings),
  ...traces(settings),
  ...alerts(settings),
]

/** Each of our namespaces denies all traffic but what its own programs need, at a Pod Security level of its own. */
function namespaces({ PLATFORM, NAMESPACE, INGRESS_NAMESPACE, MONITORING_NAMESPACE, TRACING_NAMESPACE }: Settings): string[] {
  const others = { INGRESS_NAMESPACE, MONITORING_NAMESPACE, TRACING_NAMESPACE }
  const problems = Object.entries(others)
    .filter(([, name]) => name === NAMESPACE)
    .map(([variable, name]) => `${variable} and NAMESPACE are both ${name}: the services need a namespace of their own`)
  if (PLATFORM === 'existing') return problems
  for (const [variable, name] of Object.entries(others)) {
    if (isReserved(name)) problems.push(`${variable} is ${name}, one of Kubernetes itself: the bundled platform closes its namespaces to all others`)
    if (variable !== 'INGRESS_NAMESPACE' && name === INGRESS_NAMESPACE)
      problems.push(`INGRESS_NAMESPACE and ${variable} are both ${name}: the bundled ingress needs a namespace of its own`)
  }
  return problems
}

const databases = ({ DATABASE, DATABASE_CIDR }: Settings): string[] =>
  DATABASE === 'external' && DATABASE_CIDR.length === 0
    ? ['DATABASE_CIDR is missing: DATABASE=external takes the addresses of the database, as CIDRs such as 10.0.0.0/8 separated by commas']
    : []

const issuer = ({ WORKLOAD_JWKS, WORKLOAD_JWKS_CIDR }: Settings): string[] =>
  WORKLOAD_JWKS !== 'file' && WORKLOAD_JWKS_CIDR.length === 0
    ? [
        `WORKLOAD_JWKS_CIDR is missing: WORKLOAD_JWKS=${WORKLOAD_JWKS} takes the addresses of that host, as CIDRs such as 10.0.0.0/8 separated by commas`,
      ]
    : []

function traces({ PLATFORM, TRACING_NAMESPACE, OTLP_ENDPOINT: { host, port, insecure }, OTLP_CIDR, OTLP_HEADERS, OTLP_CA }: Settings): string[] {
  const problems: string[] = []
  const names = ['', '.svc', '.svc.cluster.local'].map(suffix => `jaeger.${TRACING_NAMESPACE}${suffix}`)
  if (PLATFORM === 'bundled' && !(insecure && port === JAEGER.otlp && names.includes(host) && OTLP_CIDR.length === 0))
    problems.push(
      `OTLP_ENDPOINT is not http://${names[0]}:${JAEGER.otlp}, or OTLP_CIDR is set: PLATFORM=bundled keeps traces in its own Jaeger, PLATFORM=existing sends them elsewhere`,
    )
  if (insecure && OTLP_HEADERS.length > 0) problems.push('OTLP_HEADERS with an OTLP_ENDPOINT of http: secrets would go over the network as they are')
  if (insecure && OTLP_CA) problems.push('OTLP_CA with an OTLP_ENDPOINT of http: nobody would look at a certificate')
  return problems
}

function alerts({ PLATFORM, ALERTS_SECRET, ALERTS_TO }: Settings): string[] {
  const set = ALERTS_SECRET !== undefined || ALERTS_TO.length > 0
  if (set && PLATFORM === 'existing') return ['ALERTS_SECRET and ALERTS_TO are for the bundled Alertmanager, which PLATFORM=existing does not bring']
  if (ALERTS_SECRET === ALERTMANAGER_SECRET) return [`ALERTS_SECRET is ${ALERTMANAGER_SECRET}, the name of the one that tells nobody`]
  if (set && (ALERTS_SECRET === undefined || ALERTS_TO.length === 0))
    return ['ALERTS_SECRET and ALERTS_TO go together: who is told of alerts, and where they are on the network']
  return []
}
