import {
  ADMIN_PORT,
  DEFAULT_RESOURCES,
  fetchesUserKeys,
  foreignIssuerOf,
  jwksOperation,
  podsHost,
  type ServiceDefinition,
  type SystemDefinition,
  secretsOf,
  workloadAudience,
} from '@fairlead/chassis'
import { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { MOUNTS, type ServiceProps, serviceOwner } from '../objects/context.ts'
import { sleepBeforeStop } from '../objects/newer-fields.ts'
import { labelsOf, make, ownPods } from '../objects/object.ts'
import { quantity } from '../objects/quantity.ts'
import { containerSecurity, pinnedImages, podSecurity, resources } from '../objects/restricted.ts'
import { settingTexts } from '../settings/service-settings.ts'
import type { Settings } from '../settings/settings.ts'
import { environmentOf, meetsWorkloads } from './environment.ts'
import { registryVariables } from './registry.ts'
import { collectorSidecar, collectorVolumes, OTLP_URL } from './tracing-sidecar.ts'

/** Time in which every kube-proxy and ingress hears that a pod leaves, before it is told so itself. */
const PRE_STOP_SECONDS = 5
/** How long a token for a callee lives; the kubelet renews it at 80 %. */
const TOKEN_SECONDS = 3_600

/** The volume of what only the migration reads. */
const OWNER = 'database-owner'
/** Name of the Secret with the `url` by which a service's database is migrated, as its owner; no container that serves has it. */
export const ownerSecret = ({ name }: Pick<ServiceDefinition, 'name'>) => `${name}-${OWNER}`
/** Name of the Secret with the `url` of a service's database, and the authority that its server is believed by, where it has one of its own. */
export const databaseSecret = ({ name }: Pick<ServiceDefinition, 'name'>) => `${name}-database`
/** Name of the ConfigMap with the public keys of the cluster's token issuer. */
export const WORKLOAD_ISSUER = 'workload-issuer'
/** The ConfigMap with the public key that stands in for a foreign issuer's, so that users' tokens can be made locally. */
export const ISSUER_STAND_IN = 'issuer-stand-in'

export interface DeploymentProps extends ServiceProps {
  /** Reference of its image, with a tag or digest that does not move. */
  readonly image: string
  /**
   * How long a pod that leaves may finish its requests, the sleep before included.
   * @default 30
   */
  readonly graceSeconds?: number
}

/** The pods of a service. How many is the autoscaler's to say: `replicas` is absent, since each apply would reset it. */
export function addDeployment(scope: Construct, props: DeploymentProps): k8s.KubeDeployment {
  const { settings, service, graceSeconds = 30 } = props
  const owner = serviceOwner(props)
  const spread = (topologyKey: string) => ({
    topologyKey,
    maxSkew: 1,
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: ownPods(owner) },
    matchLabelKeys: ['pod-template-hash'],
  })
  return make(k8s.KubeDeployment, scope, owner, {
    metadata: { name: service.name, namespace: settings.NAMESPACE, annotations: pinnedImages },
    spec: {
      selector: { matchLabels: ownPods(owner) },
      revisionHistoryLimit: 3,
      progressDeadlineSeconds: 180,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: k8s.IntOrString.fromNumber(0), maxSurge: k8s.IntOrString.fromNumber(1) } },
      template: {
        metadata: {
          labels: labelsOf(owner),
          annotations: { 'kubectl.kubernetes.io/default-container': service.name },
        },
        spec: {
          serviceAccountName: service.name,
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: graceSeconds,
          securityContext: podSecurity(),
          topologySpreadConstraints: [spread('kubernetes.io/hostname'), spread('topology.kubernetes.io/zone')],
          affinity: {
            podAntiAffinity: {
              preferredDuringSchedulingIgnoredDuringExecution: [
                { weight: 100, podAffinityTerm: { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: ownPods(owner) } } },
              ],
            },
          },
          initContainers: [collectorSidecar(settings), ...(service.database ? [migration(props)] : [])],
          containers: [serving(props)],
          volumes: [
            { name: 'tmp', emptyDir: { sizeLimit: quantity('16Mi') } },
            ...collectorVolumes(settings),
            ...mountsOf(props).map(({ volume }) => volume),
            ...ownerVolume(service),
          ],
        },
      },
    },
  })
}

const program = ({ settings, image }: DeploymentProps): Pick<k8s.Container, 'image' | 'imagePullPolicy' | 'securityContext'> => ({
  image,
  imagePullPolicy: settings.IMAGE_PULL_POLICY,
  securityContext: containerSecurity(),
})

const budgetOf = ({ resources: own = DEFAULT_RESOURCES }: ServiceDefinition) => resources(own.requests, own.limits)

const TMP: k8s.VolumeMount = { name: 'tmp', mountPath: '/tmp' }

function serving(props: DeploymentProps): k8s.Container {
  const { system, settings, service } = props
  const env = {
    PORT: service.port,
    ADMIN_PORT,
    ...(service.grpc && { GRPC_PORT: service.grpc.port }),
    ...environmentOf(system, service, {
      namespace: settings.NAMESPACE,
      authIssuer: `https://${settings.HOST}`,
      keysOf: issuer => `http://${podsHost(issuer)}:${issuer.port}${jwksOperation.path}`,
      ...(settings.USERS_JWKS === 'stand-in' && { standInKeys: `file://${MOUNTS}/${ISSUER_STAND_IN}/jwks.json` }),
      workloadIssuer: settings.WORKLOAD_ISSUER,
      ...issuerKeys(settings),
      databaseUrlFile: DATABASE_URL_FILE,
      settings: settingTexts(service, settings.SERVICES[service.name]),
      secretDir: name => `${MOUNTS}/${name}`,
      identityFile: callee => `${MOUNTS}/identity/${callee}`,
    }),
    ...registryVariables(settings, service),
    TRUSTED_HOPS: settings.TRUSTED_HOPS,
    INGRESS_TRACES: settings.INGRESS_TRACES,
    LOG_LEVEL: settings.LOG_LEVEL,
    OTEL_EXPORTER_OTLP_ENDPOINT: OTLP_URL,
  }
  const probe = (path: string) => ({ httpGet: { path, port: k8s.IntOrString.fromString('admin') } })
  return {
    name: service.name,
    ...program(props),
    env: Object.entries(env).map(([name, value]) => ({ name, value: String(value) })),
    ports: [
      { name: 'http', containerPort: service.port },
      ...(service.grpc ? [{ name: 'grpc', containerPort: service.grpc.port }] : []),
      { name: 'admin', containerPort: ADMIN_PORT },
    ],
    startupProbe: { ...probe('/livez'), periodSeconds: 1, timeoutSeconds: 2, failureThreshold: 60 },
    livenessProbe: { ...probe('/livez'), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3 },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 3 },
    lifecycle: sleepBeforeStop(PRE_STOP_SECONDS),
    resources: budgetOf(service),
    volumeMounts: [TMP, ...mountsOf(props).map(({ mount }) => mount)],
  }
}

/** Runs in every new pod and is safe so: one migrates, the others wait for its lock and find nothing to do. */
const migration = (props: DeploymentProps): k8s.Container => ({
  name: 'migrate',
  ...program(props),
  args: ['main.js', 'migrate'],
  env: [{ name: 'DATABASE_URL_FILE', value: `${MOUNTS}/${OWNER}/url` }],
  resources: budgetOf(props.service),
  volumeMounts: [TMP, { name: OWNER, mountPath: `${MOUNTS}/${OWNER}`, readOnly: true }],
})

const DATABASE_URL_FILE = `${MOUNTS}/database/url`
/** Key of both Secrets with the authority, and where a URL finds it: it changes together with the URL. */
export const DATABASE_CA = 'ca.crt'
export const DATABASE_CA_FILE = `${MOUNTS}/database/${DATABASE_CA}`
export const OWNER_CA_FILE = `${MOUNTS}/${OWNER}/${DATABASE_CA}`
const READ_ONLY = 0o440

const ownerVolume = (service: ServiceDefinition): k8s.Volume[] =>
  service.database ? [{ name: OWNER, secret: { secretName: ownerSecret(service), defaultMode: READ_ONLY } }] : []

/** The ConfigMap with what a service needs to know the issuer's keys: the keys themselves, or who vouches for the host that publishes them. */
const issuerConfigMap = ({ WORKLOAD_JWKS, WORKLOAD_JWKS_CA }: Settings) => (WORKLOAD_JWKS === 'file' ? WORKLOAD_ISSUER : WORKLOAD_JWKS_CA)

const issuerKeys = ({ WORKLOAD_JWKS, WORKLOAD_JWKS_CA }: Settings) =>
  WORKLOAD_JWKS === 'file'
    ? { workloadJwks: `${MOUNTS}/${WORKLOAD_ISSUER}/jwks.json` }
    : { workloadJwks: WORKLOAD_JWKS, ...(WORKLOAD_JWKS_CA && { workloadJwksCaFile: `${MOUNTS}/${WORKLOAD_ISSUER}/ca.crt` }) }

/** Whether a key of the deployer's machine takes the place of a foreign issuer's. */
export const usesStandIn = (system: SystemDefinition, { USERS_JWKS }: Settings): boolean =>
  foreignIssuerOf(system) !== undefined && USERS_JWKS === 'stand-in'

/** Files that a service reads, each with its volume; none is a subPath, which would never change again. */
function mountsOf({ system, settings, service }: ServiceProps): { volume: k8s.Volume; mount: k8s.VolumeMount }[] {
  const mounted = (name: string, source: Omit<k8s.Volume, 'name'>) => ({
    volume: { name, ...source },
    mount: { name, mountPath: `${MOUNTS}/${name}`, readOnly: true },
  })
  const keys = issuerConfigMap(settings)
  return [
    ...(service.database ? [mounted('database', { secret: { secretName: databaseSecret(service), defaultMode: READ_ONLY } })] : []),
    ...secretsOf(service).map(({ name }) => mounted(name, { secret: { secretName: name, defaultMode: READ_ONLY } })),
    ...(keys && meetsWorkloads(system, service) ? [mounted(WORKLOAD_ISSUER, { configMap: { name: keys } })] : []),
    ...(usesStandIn(system, settings) && fetchesUserKeys(service) ? [mounted(ISSUER_STAND_IN, { configMap: { name: ISSUER_STAND_IN } })] : []),
    ...(service.calls.length > 0
      ? [
          mounted('identity', {
            projected: {
              defaultMode: READ_ONLY,
              sources: service.calls.map(({ to }) => ({
                serviceAccountToken: { path: to.name, audience: workloadAudience(to.name, settings.NAMESPACE), expirationSeconds: TOKEN_SECONDS },
              })),
            },
          }),
        ]
      : []),
  ]
}
