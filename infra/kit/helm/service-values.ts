import { type ServiceDefinition, secretsOf, takesOf } from '@fairlead/chassis'
import type { Manifest } from '../objects/manifest.ts'
import { formats } from '../settings/formats.ts'
import { defaultOf, isRequired, mayBeBare, settingSchema } from '../settings/service-settings.ts'
import { at, NAME, type Schema, schemaFor, type Values, value } from './value.ts'

// biome-ignore lint/suspicious/noExplicitAny: the places of values are deep in objects of many kinds
type Loose = any

const QUANTITY = { type: ['string', 'integer'], pattern: '^[0-9]+(\\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?$' }
/** Every amount that the object has is required, e.g. a memory limit. */
const resourcesSchema = (resources: Record<string, object>): Schema => ({
  type: 'object',
  required: Object.keys(resources),
  additionalProperties: false,
  properties: Object.fromEntries(
    Object.entries(resources).map(([kind, amounts]) => [kind, { type: 'object', required: Object.keys(amounts), additionalProperties: QUANTITY }]),
  ),
})

/** The volumes that the kit mounts from Secrets, each with a description of its Secret. */
export const volumesOfSecrets = (service: ServiceDefinition): Map<string, string> =>
  new Map([
    ...(service.database
      ? [
          ['database', "The Secret with its database's url"] as const,
          ['database-owner', "The Secret with its database's url for migrations, as the owner of the tables"] as const,
        ]
      : []),
    ...secretsOf(service).map(({ name }) => [name, `The Secret with the ${name} of ${service.name}`] as const),
  ])

export const servingContainer = ({ containers = [] }: Loose, { name }: ServiceDefinition): Loose | undefined =>
  containers.find((container: Loose) => container.name === name)

/** The values that change the objects of a service. Their defaults are what the objects say after the overlay. */
function changeable(service: ServiceDefinition, objects: readonly Manifest[]): Values {
  const find = (wanted: string): Loose => objects.find(({ kind, metadata }) => kind === wanted && metadata.name === service.name)?.spec
  const pods = find('Deployment')?.template.spec ?? {}
  const { minReplicas, maxReplicas } = find('HorizontalPodAutoscaler') ?? {}
  const bound = { type: 'integer', minimum: 1 }
  const given = servingContainer(pods, service)?.resources ?? {}
  const resources = Object.fromEntries(
    ['requests', 'limits'].flatMap(kind => {
      const { 'ephemeral-storage': _, ...amounts } = given[kind] ?? {}
      return given[kind] ? [[kind, amounts]] : []
    }),
  )
  const secrets = [...volumesOfSecrets(service)].flatMap(([volume, description]) => {
    const name = pods.volumes?.find((mounted: Loose) => mounted.name === volume)?.secret?.secretName
    return name ? [[volume, value(name, NAME, description)]] : []
  })
  return {
    ...(minReplicas !== undefined && { minReplicas: value(minReplicas, bound, 'Fewest pods') }),
    ...(maxReplicas !== undefined && { maxReplicas: value(maxReplicas, bound, 'Most pods') }),
    ...(Object.keys(resources).length > 0 && { resources: value(resources, resourcesSchema(resources), 'Of its container') }),
    secrets: Object.fromEntries(secrets),
  }
}

/** The text of a setting in a template. JSON has 10000000 where Helm's own way is 1e+07. */
export function settingText({ name, settings = {} }: ServiceDefinition, setting: string): string {
  const given = at('services', name, 'settings', setting)
  return settings[setting] && mayBeBare(settings[setting]) ? `(${given} | toJson | trimAll \`"\`)` : given
}

/** What the chart lets people set of one service. */
export function serviceValues(service: ServiceDefinition, tag: string | undefined, objects: readonly Manifest[]): Values {
  const own = Object.entries(service.settings ?? {}).map(([name, schema]) => {
    const fallback = defaultOf(schema) ?? (isRequired(schema) ? undefined : '')
    return [name, value(fallback, settingSchema(schema), takesOf(schema))] as const
  })
  return {
    tag: value(tag, { ...schemaFor(formats.imageTag), not: { const: 'latest' } }, 'Tag of its image'),
    ...changeable(service, objects),
    ...(own.length > 0 && { settings: Object.fromEntries(own) }),
  }
}
