import { ADMIN_PORT, calleesOf, fetchesUserKeys, foreignIssuerOf, portsBetween, type SystemDefinition } from '@fairlead/chassis'
import type { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { type ServiceProps, serviceOwner } from '../objects/context.ts'
import { addNetworkPolicy, addresses, allPodsIn, podsOf, type Rule } from '../objects/network-policies.ts'
import type { Settings } from '../settings/settings.ts'
import { meetsWorkloads } from './environment.ts'
import { entryServices } from './ingress.ts'
import { POSTGRES, POSTGRES_PORT } from './postgres.ts'
import { registryRules } from './registry.ts'
import { COLLECTOR_METRICS_PORT } from './tracing-sidecar.ts'

const databaseRules = ({ DATABASE, DATABASE_CIDR, DATABASE_PORT }: Settings): Rule[] =>
  DATABASE === 'bundled'
    ? [{ peer: podsOf(POSTGRES), ports: [POSTGRES_PORT] }]
    : DATABASE_CIDR.map(cidr => ({ peer: addresses(cidr), ports: [DATABASE_PORT] }))

/** Where callees find the keys of their callers' tokens, unless they have them as a file. */
const issuerRules = ({ WORKLOAD_JWKS, WORKLOAD_JWKS_CIDR }: Settings): Rule[] =>
  WORKLOAD_JWKS === 'file' ? [] : WORKLOAD_JWKS_CIDR.map(cidr => ({ peer: addresses(cidr), ports: [Number(new URL(WORKLOAD_JWKS).port || 443)] }))

/** Where services find a foreign issuer's keys, unless they have those of its stand-in as a file: at any address on kind, as nobody says better. */
function userKeysRules(system: SystemDefinition, { USERS_JWKS, USERS_JWKS_CIDR }: Settings): Rule[] {
  const foreign = foreignIssuerOf(system)
  if (!foreign || USERS_JWKS === 'stand-in') return []
  const ports = [Number(new URL(foreign.jwksUri).port || 443)]
  return USERS_JWKS_CIDR.length > 0 ? USERS_JWKS_CIDR.map(cidr => ({ peer: addresses(cidr), ports })) : [{ ports }]
}

/** One rule for each edge that ends or begins at a service: those of the graph, and those to ingress, database, traces and metrics. */
export function addEdges(scope: Construct, props: ServiceProps): k8s.KubeNetworkPolicy {
  const { system, settings, service } = props
  const bundled = settings.PLATFORM === 'bundled'
  const platform = (name: string, namespace: string) => (bundled ? podsOf(name, namespace) : allPodsIn(namespace))
  const ingress: Rule[] = system.services
    .map(caller => ({ peer: podsOf(caller.name), ports: portsBetween(system, caller, service) }))
    .filter(({ ports }) => ports.length > 0)
  if (entryServices(props).includes(service)) ingress.push({ peer: platform('traefik', settings.INGRESS_NAMESPACE), ports: [service.port] })
  ingress.push({ peer: platform('prometheus', settings.MONITORING_NAMESPACE), ports: [ADMIN_PORT, COLLECTOR_METRICS_PORT] })

  const egress: Rule[] = calleesOf(system, service).map(callee => ({ peer: podsOf(callee.name), ports: portsBetween(system, service, callee) }))
  egress.push(...registryRules(settings, service))
  if (service.database) egress.push(...databaseRules(settings))
  if (meetsWorkloads(system, service)) egress.push(...issuerRules(settings))
  if (fetchesUserKeys(service)) egress.push(...userKeysRules(system, settings))
  const { OTLP_CIDR, OTLP_ENDPOINT } = settings
  const collectors = OTLP_CIDR.length > 0 ? OTLP_CIDR.map(addresses) : [platform('jaeger', settings.TRACING_NAMESPACE)]
  egress.push(...collectors.map(peer => ({ peer, ports: [OTLP_ENDPOINT.port] })))
  return addNetworkPolicy(scope, settings, serviceOwner(props), settings.NAMESPACE, { ingress, egress })
}
