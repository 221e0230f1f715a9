import type { Settings } from './settings.ts'

/** Every image that is not ours, pinned once. IMAGES and IMAGE_MIRROR say where else they come from. */
export const pinned = {
  node: 'gcr.io/distroless/nodejs24-debian13:nonroot',
  collector: 'otel/opentelemetry-collector-k8s:0.155.0',
  traefik: 'traefik:v3.6.12',
  prometheusOperator: 'quay.io/prometheus-operator/prometheus-operator:v0.85.0',
  prometheusConfigReloader: 'quay.io/prometheus-operator/prometheus-config-reloader:v0.85.0',
  prometheus: 'quay.io/prometheus/prometheus:v3.16.0',
  alertmanager: 'quay.io/prometheus/alertmanager:v0.28.1',
  jaeger: 'jaegertracing/jaeger:2.13.0',
  metricsServer: 'registry.k8s.io/metrics-server/metrics-server:v0.9.0',
  postgres: 'postgres:17',
  grafana: 'grafana/grafana:12.3.0',
  /** What the end-to-end tests look from. */
  probe: 'busybox:1.37',
} as const

export type ImageName = keyof typeof pinned

/** Tags above that may name another image tomorrow, and why they are here all the same. */
export const MOVING: Partial<Record<ImageName, string>> = {
  node: 'distroless publishes no tag of a version; the digest of the one that an image was built on is part of its own tag',
  postgres: 'the bundled database is for trying, and takes the fixes of its major version',
}

/** An image by another name, for one that IMAGES replaces. */
export interface ImageOverride {
  name: ImageName
  reference: string
}

export type ImageSettings = Pick<Settings, 'IMAGES' | 'IMAGE_MIRROR'>

/** The image of each program that is not ours. */
export function imagesFor({ IMAGES, IMAGE_MIRROR }: ImageSettings): Record<ImageName, string> {
  const mirrored = Object.entries(pinned).map(([name, reference]) => [name, IMAGE_MIRROR ? `${IMAGE_MIRROR}/${fullName(reference)}` : reference])
  return { ...Object.fromEntries(mirrored), ...Object.fromEntries(IMAGES.map(({ name, reference }) => [name, reference])) }
}

/** With the registry and folder that Docker adds, as tools that mirror registries write it. */
function fullName(reference: string): string {
  const [first = '', ...rest] = reference.split('/')
  if (rest.length > 0 && /[.:]/.test(first)) return reference
  return `docker.io/${rest.length > 0 ? '' : 'library/'}${reference}`
}

/** Tag and digest of a reference, where it has them: `registry:5000/path/name:tag@sha256:...`. */
export function partsOf(reference: string): { name: string; tag?: string; digest?: string } {
  const [, name = reference, tag, digest] = /^([^@]+?)(?::([^/:@]+))?(?:@(.+))?$/.exec(reference) ?? []
  return { name, ...(tag && { tag }), ...(digest && { digest }) }
}

/** What an image is a version of; one that is named by its digest alone is taken for the pinned one. */
export const versionOf = (name: ImageName, reference: string): string => partsOf(reference).tag ?? partsOf(pinned[name]).tag ?? ''

/** Where prometheus-operator publishes its custom resource definitions, of the operator's own version. */
export const PROMETHEUS_OPERATOR_CRDS = 'https://github.com/prometheus-operator/prometheus-operator/releases/download/v0.85.0/stripped-down-crds.yaml'

/** SHA-256 of that file, as hex digits: what is downloaded is applied to the cluster. Not known for this release; --crds-sha256 says it. */
export const PROMETHEUS_OPERATOR_CRDS_SHA256: string | undefined = undefined

/** The same for Gateway API's, of its standard channel. */
export const GATEWAY_API_CRDS = 'https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.6.0/standard-install.yaml'
