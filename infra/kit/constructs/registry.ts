import { isIP } from 'node:net'
import { describeDnsServer, edgeVariables, type ServiceDefinition } from '@fairlead/chassis'
import ipaddr from 'ipaddr.js'
import { addresses, type Rule } from '../objects/network-policies.ts'
import type { Settings } from '../settings/settings.ts'

type Registry = Pick<Settings, 'CALLEES' | 'CALLEES_AT' | 'DISCOVERY' | 'DISCOVERY_DOMAIN' | 'DISCOVERY_SERVER'>

const elsewhere = ({ CALLEES }: Registry, { calls }: ServiceDefinition) =>
  CALLEES.filter(({ service }) => calls.some(({ to }) => to.name === service))

/** How a service finds those that it calls. */
export function registryVariables(settings: Registry, service: ServiceDefinition): Record<string, string> {
  if (service.calls.length === 0) return {}
  const { DISCOVERY, DISCOVERY_DOMAIN, DISCOVERY_SERVER } = settings
  return {
    DISCOVERY,
    DISCOVERY_DOMAIN,
    ...(DISCOVERY_SERVER.length > 0 && { DISCOVERY_SERVER: DISCOVERY_SERVER.map(describeDnsServer).join(',') }),
    ...Object.fromEntries(elsewhere(settings, service).map(({ service: callee, place }) => [edgeVariables(callee).host, place])),
  }
}

const isLoopback = (host: string) => ipaddr.parse(host).range() === 'loopback'

/** Where its callees and the servers that know them are, beyond the pods of the graph and their DNS. */
export function registryRules(settings: Registry, service: ServiceDefinition): Rule[] {
  if (service.calls.length === 0) return []
  const servers = settings.DISCOVERY_SERVER.filter(({ host }) => !isLoopback(host)).map(({ host, port }): Rule => {
    return { peer: addresses(`${host}/${isIP(host) === 4 ? 32 : 128}`), ports: [port], protocols: ['UDP', 'TCP'] }
  })
  const callees = elsewhere(settings, service).length > 0 ? settings.CALLEES_AT.map(({ peer, port }) => ({ peer, ports: [port] })) : []
  return [...servers, ...callees]
}
