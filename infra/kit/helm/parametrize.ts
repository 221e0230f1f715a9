import { isDeepStrictEqual } from 'node:util'
import type { ServiceDefinition, SystemDefinition } from '@fairlead/chassis'
import { stringify, type ToStringOptions } from 'yaml'
import { POSTGRES } from '../constructs/postgres.ts'
import { COLLECTOR_CONFIG } from '../constructs/tracing-sidecar.ts'
import { DASHBOARD } from '../dashboards/dashboards.ts'
import type { Manifest } from '../objects/manifest.ts'
import { addresses, DNS_PORT, podsOf } from '../objects/network-policies.ts'
import { ProjectError } from '../settings/project.ts'
import { mayBeEmpty } from '../settings/service-settings.ts'
import type { Settings } from '../settings/settings.ts'
import { bare, block, entries, text, toTemplate, whenSet } from './expressions.ts'
import { servingContainer, settingText, volumesOfSecrets } from './service-values.ts'
import { at } from './value.ts'

// biome-ignore lint/suspicious/noExplicitAny: the places of values are deep in objects of many kinds
type Loose = any

/**
 * A second place with the same content gets its own copy: with an alias, whoever edits the first changes both. Helm reads YAML 1.1, where
 * `on` is a boolean.
 */
export const YAML: ToStringOptions & { aliasDuplicateObjects: boolean; compat: 'yaml-1.1' } = {
  aliasDuplicateObjects: false,
  lineWidth: 0,
  compat: 'yaml-1.1',
}

/** Turns objects into templates. Values replace what the kit itself wrote; what an overlay put there instead stays. */
export function createParametrize(system: SystemDefinition, settings: Settings, collector: { helper: string; config: string }) {
  return (manifest: Manifest): string => {
    const object: Loose = structuredClone(manifest)
    const service = system.services.find(({ name }) => name === object.metadata.name)
    if (service && object.kind === 'Deployment') parametrizePods(object.spec.template, service, collector)
    if (service && object.kind === 'HorizontalPodAutoscaler')
      for (const bound of ['minReplicas', 'maxReplicas'])
        if (object.spec[bound] !== undefined) object.spec[bound] = bare(at('services', service.name, bound))
    if (object.kind === 'NetworkPolicy') {
      for (const rule of object.spec.ingress ?? []) parametrizeCaller(rule, settings)
      for (const rule of object.spec.egress ?? []) parametrizeCallee(rule, settings)
    }
    const [tls] = (object.kind === 'Ingress' && object.spec.tls) || []
    if (tls && tls.secretName === undefined) Object.assign(tls, entries(tlsSecret))
    const yaml = toTemplate(stringify(object, YAML))
    const condition = conditionOf(manifest)
    return condition ? `{{- if ${condition} }}\n${yaml}{{- end }}\n` : yaml
  }
}

/** Under which value an object is there at all. */
function conditionOf({ kind, metadata }: Manifest): string | undefined {
  if (kind === 'ServiceMonitor' || kind === 'PrometheusRule') return at('monitoring', 'enabled')
  if (metadata.labels?.['app.kubernetes.io/component'] === DASHBOARD) return at('monitoring', 'dashboards')
  if (kind === 'Ingress') return at('ingress', 'enabled')
  if (metadata.labels?.['app.kubernetes.io/component'] === 'database') return at('database', 'bundled')
  return undefined
}

/** Only where one is named: the bundled ingress has its certificate by itself. */
const tlsSecret = `(empty ${at('ingress', 'tlsSecret')} | ternary (dict) (dict "secretName" ${at('ingress', 'tlsSecret')}))`

function parametrizePods({ spec }: Loose, service: ServiceDefinition, { helper, config }: { helper: string; config: string }): void {
  const { name, settings = {} } = service
  const collector = collectorVariable(spec)
  // An overlay may have given one service its own collector configuration.
  if (collector?.value === config) collector.value = text(`include "${helper}" .`)
  const serving = servingContainer(spec, service)
  const budget = structuredClone(serving?.resources)
  for (const container of containersOf(spec)) {
    if (container !== serving && container.name !== 'migrate') continue
    for (const kind of ['requests', 'limits']) {
      const amounts = container.resources?.[kind]
      if (!amounts || !isDeepStrictEqual(amounts, budget?.[kind])) continue
      container.resources[kind] = { ...entries(at('services', name, 'resources', kind)), 'ephemeral-storage': amounts['ephemeral-storage'] }
    }
  }
  if (serving?.env)
    serving.env = serving.env.map((variable: Loose) => {
      const schema = settings[variable.name]
      const value = settingText(service, variable.name)
      return schema && variable.value === text(value) && mayBeEmpty(schema) ? whenSet(variable.name, value) : variable
    })
  const known = volumesOfSecrets(service)
  for (const volume of spec.volumes ?? [])
    if (volume.secret && known.has(volume.name)) volume.secret.secretName = text(at('services', name, 'secrets', volume.name))
}

const containersOf = (spec: Loose): Loose[] => [...(spec.initContainers ?? []), ...(spec.containers ?? [])]

const collectorVariable = (spec: Loose): { name: string; value: string } | undefined =>
  containersOf(spec)
    .flatMap(({ env = [] }) => env)
    .find(({ name }) => name === COLLECTOR_CONFIG)

/** The collector's configuration, which is the same in every pod of a service unless an overlay says otherwise. */
export const collectorIn = (manifests: readonly Manifest[]): string => {
  const pods = manifests.flatMap(({ kind, spec }: Loose) => (kind === 'Deployment' ? [spec.template.spec] : []))
  return pods.map(collectorVariable).find(variable => variable !== undefined)?.value ?? ''
}

/** Who calls from the platform, by the labels of its value. */
function parametrizeCaller(rule: Loose, { INGRESS_NAMESPACE, MONITORING_NAMESPACE }: Settings): void {
  const callers = { ingress: podsOf('traefik', INGRESS_NAMESPACE), monitoring: podsOf('prometheus', MONITORING_NAMESPACE) }
  for (const [group, peer] of Object.entries(callers))
    if (isDeepStrictEqual(rule.from, [peer])) rule.from[0].podSelector.matchLabels = block(at(group, 'podLabels'))
}

/** Traces, names, the database and users' keys, wherever they are. */
function parametrizeCallee(rule: Loose, { DNS, TRACING_NAMESPACE, USERS_JWKS_CIDR }: Settings): void {
  const callees = { tracing: [podsOf('jaeger', TRACING_NAMESPACE)], database: [podsOf(POSTGRES)], users: USERS_JWKS_CIDR.map(addresses) }
  for (const [group, peers] of Object.entries(callees)) if (isDeepStrictEqual(rule.to, peers)) rule.to = block(at(group, 'peers'))
  if (USERS_JWKS_CIDR.some(mark => JSON.stringify(rule.to ?? []).includes(JSON.stringify(mark).slice(1, -1))))
    throw new ProjectError(
      "an overlay changes the rule to where users' keys are, which is a value of the chart (users.peers): leave that rule as it is",
    )
  if (rule.ports?.[0]?.port === DNS_PORT && isDeepStrictEqual(rule.to, DNS)) rule.to = block(at('dns', 'peers'))
}
