import type { SystemDefinition } from '@fairlead/chassis'
import { parseDocument, stringify } from 'yaml'
import { OLDEST_KUBERNETES } from '../settings/kubernetes-version.ts'
import type { Project } from '../settings/project.ts'
import type { Settings } from '../settings/settings.ts'
import { synthesize } from '../synth/synth.ts'
import { bare, entries, text, toTemplate } from './expressions.ts'
import { collectorIn, createParametrize, YAML } from './parametrize.ts'
import { settingText } from './service-values.ts'
import { at, defaultsOf, descriptionsOf, schemaOf } from './value.ts'
import { valuesOf } from './values.ts'

// biome-ignore lint/suspicious/noExplicitAny: the places of values are deep in objects of many kinds
type Loose = any

/** Files of the Helm chart of a system, by path: the objects that synth makes, with the chart's values in their places. */
export function helmChart(project: Project, settings: Settings, tags: Record<string, string>): Map<string, string> {
  const { system, version } = project
  const marked = withExpressions(settings, system)
  const manifests = synthesize({ ...project, settings: marked, images: imagesOf(system) }).own.filter(({ kind }) => !BROUGHT.includes(kind))
  const values = valuesOf(system, settings, tags, manifests)
  const collector = { helper: `${system.name}.collector`, config: collectorIn(manifests) }
  const parametrize = createParametrize(system, marked, collector)
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
    ['templates/_collector.tpl', `{{- define "${collector.helper}" -}}\n${toTemplate(collector.config)}{{ end }}\n`],
    ['templates/NOTES.txt', NOTES],
    ['.helmignore', '*.tgz\n'],
  ])
  for (const manifest of manifests) files.set(`templates/${manifest.metadata.name}-${manifest.kind.toLowerCase()}.yaml`, parametrize(manifest))
  return files
}

/** Not in the chart: `helm uninstall` would take the Secrets and the database with it. */
const BROUGHT = ['Namespace']

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
  DISCOVERY: text(at('discovery', 'by')) as Settings['DISCOVERY'],
  DISCOVERY_DOMAIN: text(at('discovery', 'domain')),
  USERS_JWKS: 'issuer',
  WORKLOAD_ISSUER: text(at('workloadIssuer')),
  USERS_JWKS_CIDR: [text('users')],
  LOG_LEVEL: text(at('logLevel')) as Settings['LOG_LEVEL'],
  SERVICES: Object.fromEntries(
    services.map(service => [
      service.name,
      Object.fromEntries(Object.keys(service.settings ?? {}).map(setting => [setting, text(settingText(service, setting))])),
    ]),
  ),
})

const imagesOf = ({ services }: SystemDefinition): Record<string, string> =>
  Object.fromEntries(services.map(({ name }) => [name, `${text(at('image', 'registry'))}/${name}:${text(at('services', name, 'tag'))}`]))

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
