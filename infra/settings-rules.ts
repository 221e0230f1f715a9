import { isReserved } from './fields.ts'
import type { Settings } from './settings.ts'

/** What settings that are right one by one do not make together. */
export const settingsProblems = (settings: Settings): string[] => [...namespaces(settings), ...databases(settings), ...issuer(settings)]

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
