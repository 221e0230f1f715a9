import { DEFAULT_POOL_SIZE, DefinitionError, databaseOf, type ServiceDefinition, sendsCommands } from '@fairlead/chassis'
import { ConfigMap, k8s, type ServiceAccount } from 'cdk8s-plus-27'
import { Construct } from 'constructs'
import type { SystemProps } from '../objects/context.ts'
import { addNetworkPolicy, podsOf } from '../objects/network-policies.ts'
import { labelsOf, make, type Owner, selectorOf } from '../objects/object.ts'
import { quantity } from '../objects/quantity.ts'
import { containerSecurity, pinnedImages, podSecurity, resources } from '../objects/restricted.ts'
import { addServiceAccount } from '../objects/service-account.ts'
import { imagesFor, versionOf } from '../settings/images.ts'
import { ROLES_SECRET, roles, setupFiles } from './postgres-roles.ts'

export const POSTGRES = 'postgres'
export const POSTGRES_PORT = 5_432
const SETUP = 'postgres-setup'
/** Name of the Secret with the certificate of the server. */
export const POSTGRES_TLS = 'postgres-tls'

/** What a pod keeps open: its pool, and where it sends commands, the connection that listens for them. */
const connectionsOf = (service: ServiceDefinition): number => DEFAULT_POOL_SIZE + (sendsCommands(service) ? 1 : 0)

/** What all pods keep open: a fast rollout has all new ones while all old ones still finish, and each new one migrates. */
const sessionsOf = (client: ServiceDefinition): number => client.scale.max * (2 * connectionsOf(client) + 1)

export interface PostgresProps extends SystemProps {
  /**
   * How much it may store.
   * @default '1Gi'
   */
  readonly storage?: string
}

/**
 * One Postgres with a role and a database for each service, which can enter no other. For kind and for trying: in production each
 * `<service>-database` Secret has the URL of a managed one.
 */
export class Postgres extends Construct {
  readonly serviceAccount: ServiceAccount
  /** Who may connect, and the roles that are made. */
  readonly setup: ConfigMap
  readonly service: k8s.KubeService
  readonly statefulSet: k8s.KubeStatefulSet
  readonly networkPolicy: k8s.KubeNetworkPolicy

  /** @throws DefinitionError when no service of the system has a database */
  constructor(scope: Construct, id: string, props: PostgresProps) {
    super(scope, id)
    const { system, settings, storage = '1Gi' } = props
    const clients = system.services.filter(hasDatabase)
    if (clients.length === 0)
      throw new DefinitionError(`no service of the system ${system.name} has a database: there is nothing to make a Postgres for`)
    const namespace = settings.NAMESPACE
    const image = imagesFor(settings).postgres
    const owner: Owner = { name: POSTGRES, component: 'database', partOf: system.name, version: versionOf('postgres', image) }
    const databases = clients.map(client => ({ name: client.name, database: databaseOf(client) as string, sessions: sessionsOf(client) }))
    const connections = databases.reduce((sum, { sessions }) => sum + sessions, 20)
    this.serviceAccount = addServiceAccount(this, owner, namespace)
    this.setup = make(ConfigMap, this, owner, { metadata: { name: SETUP, namespace }, data: setupFiles(databases) })
    this.service = make(k8s.KubeService, this, owner, {
      metadata: { name: POSTGRES, namespace },
      spec: {
        type: 'ClusterIP',
        clusterIp: 'None',
        selector: selectorOf(owner),
        ports: [{ name: 'postgres', port: POSTGRES_PORT, targetPort: k8s.IntOrString.fromString('postgres') }],
      },
    })
    this.statefulSet = make(k8s.KubeStatefulSet, this, owner, {
      metadata: { name: POSTGRES, namespace, annotations: pinnedImages },
      spec: {
        serviceName: POSTGRES,
        replicas: 1,
        selector: { matchLabels: selectorOf(owner) },
        template: {
          metadata: { labels: labelsOf(owner), annotations: { 'kubectl.kubernetes.io/default-container': POSTGRES } },
          spec: pod(image, connections),
        },
        volumeClaimTemplates: [
          {
            ...k8s.KubePersistentVolumeClaim.GVK,
            metadata: { name: 'data', labels: selectorOf(owner) },
            spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: quantity(storage) } } },
          },
        ],
      },
    })
    this.networkPolicy = addNetworkPolicy(this, settings, owner, namespace, {
      ingress: clients.map(({ name }) => ({ peer: podsOf(name), ports: [POSTGRES_PORT] })),
      egress: [],
    })
  }
}

const hasDatabase = ({ database }: ServiceDefinition): boolean => database !== undefined

const pod = (image: string, connections: number): k8s.PodSpec => ({
  serviceAccountName: POSTGRES,
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  terminationGracePeriodSeconds: 60,
  securityContext: podSecurity(),
  initContainers: [roles(image)],
  containers: [server(image, connections)],
  volumes: [
    { name: 'tmp', emptyDir: { sizeLimit: quantity('16Mi') } },
    { name: 'socket', emptyDir: { sizeLimit: quantity('1Mi') } },
    { name: 'setup', configMap: { name: SETUP } },
    { name: 'password', secret: { secretName: POSTGRES, defaultMode: 0o440 } },
    { name: 'roles', secret: { secretName: ROLES_SECRET, defaultMode: 0o440 } },
    { name: 'tls', secret: { secretName: POSTGRES_TLS, defaultMode: 0o440 } },
  ],
})

const server = (image: string, connections: number): k8s.Container => ({
  name: POSTGRES,
  image,
  imagePullPolicy: 'IfNotPresent',
  args: [
    'postgres',
    ...[
      `max_connections=${connections}`,
      'shared_buffers=64MB',
      'hba_file=/etc/postgres-access/pg_hba.conf',
      'ssl=on',
      'ssl_min_protocol_version=TLSv1.3',
      'ssl_cert_file=/etc/postgres-tls/tls.crt',
      'ssl_key_file=/etc/postgres-tls/tls.key',
    ].flatMap(setting => ['-c', setting]),
  ],
  env: [
    { name: 'PGDATA', value: '/var/lib/postgresql/data/pgdata' },
    { name: 'POSTGRES_PASSWORD_FILE', value: '/etc/postgres/password' },
  ],
  ports: [{ name: 'postgres', containerPort: POSTGRES_PORT }],
  startupProbe: { exec: { command: ['pg_isready', '--host', '127.0.0.1'] }, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 120 },
  readinessProbe: { exec: { command: ['pg_isready', '--host', '127.0.0.1'] }, periodSeconds: 5, timeoutSeconds: 5 },
  // The port alone: one that is busy is not dead.
  livenessProbe: { tcpSocket: { port: k8s.IntOrString.fromString('postgres') }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
  securityContext: containerSecurity(),
  // What all services wait for weighs more than any of them.
  resources: resources({ cpu: '250m', memory: '128Mi' }, { cpu: '2', memory: '512Mi' }),
  volumeMounts: [
    { name: 'data', mountPath: '/var/lib/postgresql/data' },
    { name: 'tmp', mountPath: '/tmp' },
    { name: 'socket', mountPath: '/var/run/postgresql' },
    { name: 'password', mountPath: '/etc/postgres', readOnly: true },
    { name: 'tls', mountPath: '/etc/postgres-tls', readOnly: true },
    { name: 'setup', mountPath: '/etc/postgres-access', readOnly: true },
    { name: 'setup', mountPath: '/etc/passwd', subPath: 'passwd', readOnly: true },
  ],
})
