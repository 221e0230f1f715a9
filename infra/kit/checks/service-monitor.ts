import { matches, objectsOf } from './objects.ts'
import type { Check } from './refused.ts'

/** A ServiceMonitor that matches nothing is silent: Prometheus has no target and nothing says so. */
export const serviceMonitor: Check = ({ objects }) =>
  objectsOf(objects, 'ServiceMonitor').flatMap(({ metadata, spec = {} }) => {
    const namespaces: string[] = spec.namespaceSelector?.matchNames ?? [metadata.namespace]
    const labels = spec.selector?.matchLabels ?? {}
    const services = objectsOf(objects, 'Service').filter(
      service => namespaces.includes(service.metadata.namespace ?? '') && matches(labels, service.metadata.labels),
    )
    const where = `ServiceMonitor ${metadata.namespace}/${metadata.name}`
    if (services.length === 0) return [`${where}: its labels ${JSON.stringify(labels)} match no Service in ${namespaces.join(', ')}`]
    const known: string[] = services.flatMap(service => (service.spec?.ports ?? []).map(({ name }: { name: string }) => name))
    return (spec.endpoints ?? []).flatMap(({ port }: { port?: string }) =>
      port === undefined || known.includes(port)
        ? []
        : [`${where}: port '${port}' is none of ${[...new Set(known)].join(', ')} of the Services that it matches`],
    )
  })
