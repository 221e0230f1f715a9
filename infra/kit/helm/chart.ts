import type { ServiceDefinition, SystemDefinition } from '@fairlead/chassis'
import { parseDocument, stringify, type ToStringOptions } from 'yaml'
import { COLLECTOR_CONFIG } from '../constructs/tracing-sidecar.ts'
import { DASHBOARD } from '../dashboards/dashboards.ts'
import type { Manifest } from '../objects/manifest.ts'
import { DNS_PORT } from '../objects/network-policies.ts'
import { OLDEST_KUBERNETES } from '../settings/kubernetes-version.ts'
import type { Project } from '../settings/project.ts'
import { mayBeEmpty } from '../settings/service-settings.ts'
import type { Settings } from '../settings/settings.ts'
import { synthesize } from '../synth/synth.ts'
import { bare, block, entries, text, toTemplate, whenSet } from './expressions.ts'
import { at, defaultsOf, descriptionsOf, schemaOf, valuesOf } from './values.ts'

// biome-ignore lint/suspicious/noExplicitAny: the places of values are deep in objects of many kinds
type Loose = any

/**
 * A second place with the same content gets its own copy: with an alias, whoever edits the first changes both. Helm reads YAML 1.1, where
 * `on` is a boolean.
 */
const YAML: ToStringOptions & { aliasDuplicateObjects: boolean; compat: 'yaml-1.1' } = {
  aliasDuplicateObjects: false,
  lineWidth: 0,
  compat: 'yaml-1.1',
}

/** Files of the Helm chart of a system, by path: the objects that synth makes, with the chart's values in their places. */
export function helmChart(project: Project, settings: Settings, tags: Record<string, string>): Map<string, string> {
  const { system, version } = project
  const values = valuesOf(system, settings, tags)
  const manifests = synthesize({ ...project, settings: withExpressions(settings, system), images: imagesOf(system) }).own.filter(
    ({ kind }) => !BROUGHT.includes(kind),
  )
  const helper = `${system.name}.collector`
  const templates = manifests.map(manifest => [manifest, parametrize(manifest, system, helper)] as const)
  const files = new Map<string, string>([
    [
      'Chart.yaml',
      stringify({
        apiVersion: 'v2',
        name: system.name,
        type: 'application',
        version,
        appVersion: version,
        description: `The ${system.name}, made from its system graph`,
        kubeVersion: `>=${OLDEST_KUBERNETES}.0-0`,
      }),
    ],
    ['values.yaml', valuesYaml(values)],
    ['values.schema.json', `${JSON.stringify({ $schema: 'http://json-schema.org/draft-07/schema#', ...schemaOf(values) }, null, 2)}\n`],
    ['templates/_collector.tpl', `{{- define "${helper}" -}}\n${toTemplate(collectorIn(manifests))}{{ end }}\n`],
    ['templates/NOTES.txt', NOTES],
    ['.helmignore', '*.tgz\n'],
  ])
  for (const [{ kind, metadata }, template] of templates) files.set(`templates/${metadata.name}-${kind.toLowerCase()}.yaml`, template)
  return files
}

/** Not in the chart: `helm uninstall` would take the Secrets and the database with it. */
const BROUGHT = ['Namespace']

const collectorIn = (manifests: readonly Manifest[]): string => {
  const [deployment] = manifests.filter(({ kind }) => kind === 'Deployment') as Loose[]
  return collectorVariable(deployment.spec.template).value
}

const collectorVariable = ({ spec }: Loose): { name: string; value: string } =>
  spec.initContainers.flatMap(({ env }: Loose) => env).find(({ name }: Loose) => name === COLLECTOR_CONFIG)

const NOTES = `{{- if eq .Release.Namespace "default" }}
{{- fail "the chart denies all traffic that it does not know to its namespace, which has to be its own: --namespace NAME --create-namespace" }}
{{- end -}}
The services wait for Secrets that no chart may hold. Make them, which also brings the namespace to the
Pod Security level restricted (NAMESPACE={{ .Release.Namespace }} npx fairlead secrets --context NAME), or bring your own:
{{- range $name, $service := .Values.services }}
{{- range $what, $secret := $service.secrets }}
  {{ $.Release.Namespace }}/{{ $secret }} ({{ $what }} of {{ $name }})
{{- end }}
{{- end }}
Then: https://{{ .Values.host }}
`

const withExpressions = (settings: Settings, { services }: SystemDefinition): Settings => ({
  ...settings,
  PLATFORM: 'bundled',
  DATABASE: 'bundled',
  ROUTE: 'ingress',
  NAMESPACE: text('.Release.Namespace'),
  HOST: text(at('host')),
  IMAGE_PULL_POLICY: text(at('image', 'pullPolicy')) as Settings['IMAGE_PULL_POLICY'],
  INGRESS_CLASS: text(at('ingress', 'className')),
  INGRESS_NAMESPACE: text(at('ingress', 'namespace')),
  MONITORING_NAMESPACE: text(at('monitoring', 'namespace')),
  MONITORING_LABELS: entries(at('monitoring', 'labels')),
  DASHBOARD_LABELS: entries(at('monitoring', 'dashboardLabels')),
  RUNBOOKS: text(at('monitoring', 'runbooks')),
  OTLP_ENDPOINT: { host: text(at('tracing', 'host')), port: bare(at('tracing', 'port')), insecure: bare(`not ${at('tracing', 'tls')}`) },
  TRUSTED_HOPS: text(at('trustedHops')) as never,
  USERS_JWKS: 'issuer',
  WORKLOAD_ISSUER: text(at('workloadIssuer')),
  LOG_LEVEL: text(at('logLevel')) as Settings['LOG_LEVEL'],
  SERVICES: Object.fromEntries(
    services.map(({ name, settings: own = {} }) => [
      name,
      Object.fromEntries(Object.keys(own).map(setting => [setting, text(at('services', name, 'settings', setting))])),
    ]),
  ),
})

const imagesOf = ({ services }: SystemDefinition): Record<string, string> =>
  Object.fromEntries(services.map(({ name }) => [name, `${text(at('image', 'registry'))}/${name}:${text(at('services', name, 'tag'))}`]))

/** Under which value an object is there at all. */
function conditionOf({ kind, metadata }: Manifest): string | undefined {
  if (kind === 'ServiceMonitor' || kind === 'PrometheusRule') return at('monitoring', 'enabled')
  if (metadata.labels?.['app.kubernetes.io/component'] === DASHBOARD) return at('monitoring', 'dashboards')
  if (kind === 'Ingress') return at('ingress', 'enabled')
  if (metadata.labels?.['app.kubernetes.io/component'] === 'database') return at('database', 'bundled')
  return undefined
}

function parametrize(manifest: Manifest, system: SystemDefinition, helper: string): string {
  const object: Loose = structuredClone(manifest)
  const service = system.services.find(({ name }) => name === object.metadata.name)
  if (service && object.kind === 'Deployment') parametrizePods(object.spec.template, service, helper)
  if (service && object.kind === 'HorizontalPodAutoscaler') {
    object.spec.minReplicas = bare(at('services', service.name, 'minReplicas'))
    object.spec.maxReplicas = bare(at('services', service.name, 'maxReplicas'))
  }
  if (object.kind === 'NetworkPolicy') for (const rule of [...(object.spec.ingress ?? []), ...(object.spec.egress ?? [])]) parametrizeRule(rule)
  if (object.kind === 'Ingress') Object.assign(object.spec.tls[0], entries(tlsSecret))
  const yaml = toTemplate(stringify(object, YAML))
  const condition = conditionOf(manifest)
  return condition ? `{{- if ${condition} }}\n${yaml}{{- end }}\n` : yaml
}

/** Only where one is named: the bundled ingress has its certificate by itself. */
const tlsSecret = `(empty ${at('ingress', 'tlsSecret')} | ternary (dict) (dict "secretName" ${at('ingress', 'tlsSecret')}))`

function parametrizePods({ spec }: Loose, { name, settings = {} }: ServiceDefinition, helper: string): void {
  collectorVariable({ spec }).value = text(`include "${helper}" .`)
  for (const container of [...spec.initContainers, ...spec.containers]) {
    if (![name, 'migrate'].includes(container.name)) continue
    if (container.name === name)
      container.env = container.env.map((variable: Loose) => {
        const schema = settings[variable.name]
        return schema && mayBeEmpty(schema) ? whenSet(variable.name, at('services', name, 'settings', variable.name)) : variable
      })
    for (const kind of ['requests', 'limits']) {
      const { 'ephemeral-storage': storage } = container.resources[kind]
      container.resources[kind] = { ...entries(at('services', name, 'resources', kind)), 'ephemeral-storage': storage }
    }
  }
  for (const volume of spec.volumes) if (volume.secret) volume.secret.secretName = text(at('services', name, 'secrets', volume.name))
}

const CALLERS: Record<string, string> = { traefik: 'ingress', prometheus: 'monitoring' }

/** Who calls from the platform, by the labels of its value; traces, names and the database wherever they are. */
function parametrizeRule(rule: Loose): void {
  const [peer] = rule.from ?? rule.to ?? []
  const program = peer?.podSelector?.matchLabels?.['app.kubernetes.io/name']
  const group = CALLERS[program]
  if (group) peer.podSelector.matchLabels = block(at(group, 'podLabels'))
  if (program === 'jaeger') rule.to = block(at('tracing', 'peers'))
  if (rule.ports[0].port === DNS_PORT) rule.to = block(at('dns', 'peers'))
  if (program === 'postgres') rule.to = block(at('database', 'peers'))
}

function valuesYaml(values: ReturnType<typeof valuesOf>): string {
  const document = parseDocument(stringify(defaultsOf(values), YAML))
  const keyOf = (path: string[]): Loose => {
    const parent = document.getIn(path.slice(0, -1), true) as Loose
    return (parent?.items ?? (document.contents as Loose).items).find((item: Loose) => item.key.value === path.at(-1))?.key
  }
  for (const [path, description] of descriptionsOf(values)) {
    const key = keyOf(path)
    if (key) key.commentBefore = ` ${description}`
    else {
      const group = keyOf(path.slice(0, -1))
      group.commentBefore = [group.commentBefore, ` ${path.at(-1)} has to be given: ${description}`].filter(Boolean).join('\n')
    }
  }
  return document.toString({ lineWidth: 0 })
}
