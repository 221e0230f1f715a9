import type { ServiceDefinition } from '@fairlead/chassis'
import type { ApiObject } from 'cdk8s'
import { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { type ServiceProps, type SystemProps, serviceOwner } from '../objects/context.ts'
import { kubeObject, make } from '../objects/object.ts'
import type { Settings } from '../settings/settings.ts'
import { type PublicPath, publicPaths } from './public-paths.ts'

/** The services with at least one path that is open to everybody. */
export const entryServices = ({ system }: Pick<SystemProps, 'system'>): ServiceDefinition[] =>
  system.services.filter(({ contract }) => publicPaths(contract).length > 0)

/** Where the certificate of the host is: with the bundled ingress, which may then read no Secret of the services; else with the Ingress. */
export const certificateSecret = ({ PLATFORM, INGRESS_NAMESPACE, NAMESPACE, TLS_SECRET }: Settings) => ({
  name: TLS_SECRET,
  namespace: PLATFORM === 'bundled' ? INGRESS_NAMESPACE : NAMESPACE,
})

/** The way in: the contract's public paths on the system's host, by Ingress or by HTTPRoute. */
export function addRoute(scope: Construct, props: ServiceProps): ApiObject | undefined {
  const paths = publicPaths(props.service.contract)
  if (paths.length === 0) return undefined
  return props.settings.ROUTE === 'gateway' ? addHttpRoute(scope, props, paths) : addIngress(scope, props, paths)
}

function addIngress(scope: Construct, props: ServiceProps, paths: PublicPath[]): ApiObject {
  const { service, settings } = props
  return make(k8s.KubeIngress, scope, serviceOwner(props), {
    metadata: { name: service.name, namespace: settings.NAMESPACE },
    spec: {
      ingressClassName: settings.INGRESS_CLASS,
      // The bundled ingress has its certificate by itself.
      tls: [{ hosts: [settings.HOST], ...(settings.PLATFORM === 'existing' && { secretName: settings.TLS_SECRET }) }],
      rules: [
        {
          host: settings.HOST,
          http: {
            paths: paths.map(({ path, type }) => ({ path, pathType: type, backend: { service: { name: service.name, port: { name: 'http' } } } })),
          },
        },
      ],
    },
  })
}

/** https://gateway-api.sigs.k8s.io/reference/spec/#httproute; the Gateway itself is the cluster's. */
function addHttpRoute(scope: Construct, props: ServiceProps, paths: PublicPath[]): ApiObject {
  const { service, settings } = props
  return kubeObject(scope, serviceOwner(props), {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: service.name, namespace: settings.NAMESPACE },
    spec: {
      parentRefs: [{ name: settings.GATEWAY, namespace: settings.INGRESS_NAMESPACE }],
      hostnames: [settings.HOST],
      rules: [
        {
          matches: paths.map(({ path, type }) => ({ path: { type: type === 'Exact' ? 'Exact' : 'PathPrefix', value: path } })),
          filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: { remove: ['x-request-timeout-ms'] } }],
          backendRefs: [{ name: service.name, port: service.port }],
        },
      ],
    },
  } as never)
}
