import { parseCalleePlace, parseDnsServer, type SystemDefinition } from '@fairlead/chassis'
import { listOf } from './fields.ts'
import type { Settings } from './settings.ts'

/** A service that is not where the graph has it. */
export interface CalleeElsewhere {
  service: string
  /** `host`, `host:port` or `srv:name` */
  place: string
}

function parseCallee(text: string): CalleeElsewhere {
  const [service = '', place = ''] = text.split(/=(.*)/)
  if (!place) throw new Error(`${text} is not service=place`)
  parseCalleePlace(place)
  return { service, place }
}

export const callees = () =>
  listOf(
    parseCallee,
    'services that callers find elsewhere, as service=host, service=host:port or service=srv:name, e.g. stock=srv:stock.service.consul',
  )

export const dnsServers = () =>
  listOf(parseDnsServer, 'DNS servers that know the SRV records, with a port where it is not 53, e.g. 10.0.0.2:8600; by default those of the pods')

const isSrv = ({ place }: CalleeElsewhere) => place.startsWith('srv:')

/** What settings of the registry do not make together. */
export function registryProblems(
  { CALLEES, CALLEES_AT, DISCOVERY, DISCOVERY_SERVER }: Settings,
  { services }: Pick<SystemDefinition, 'services'>,
): string[] {
  const called = [...new Set(services.flatMap(({ calls }) => calls.map(({ to }) => to.name)))]
  const problems = CALLEES.filter(({ service }) => !called.includes(service)).map(
    ({ service }) => `CALLEES names ${service}, which no service calls: called are ${called.join(', ') || 'none'}`,
  )
  if (CALLEES.length > 0 && CALLEES_AT.length === 0)
    problems.push('CALLEES_AT is missing: CALLEES takes the addresses and ports of these services, e.g. 10.0.0.0/8:8080')
  if (CALLEES.length === 0 && CALLEES_AT.length > 0) problems.push('CALLEES_AT is set without CALLEES: nobody would go there')
  if (DISCOVERY_SERVER.length > 0 && DISCOVERY === 'dns' && !CALLEES.some(isSrv))
    problems.push('DISCOVERY_SERVER is set, and nobody would ask it: it is for DISCOVERY=srv, or for CALLEES with srv:name')
  return problems
}
