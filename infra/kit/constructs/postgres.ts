import { DEFAULT_POOL_SIZE, hasOutbox, type ServiceDefinition } from '@fairlead/chassis'
import { ConfigMap, k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import type { Context } from '../objects/context.ts'
import { addNetworkPolicy, podsOf } from '../objects/network-policies.ts'
import { nativeSidecar } from '../objects/newer-fields.ts'
import { labelsOf, make, type Owner, selectorOf } from '../objects/object.ts'
import { quantity } from '../objects/quantity.ts'
import { containerSecurity, pinnedImages, podSecurity, resources, UID } from '../objects/restricted.ts'
import { addServiceAccount } from '../objects/service-account.ts'
import { imagesFor, versionOf } from '../settings/images.ts'

export const POSTGRES = 'postgres'
export const POSTGRES_PORT = 5_432
/** Name of the Secret with a password for each role, in a key of the role's name. */
export const ROLES_SECRET = 'postgres-roles'
/** Name of the Secret with the certificate of the server. */
export const POSTGRES_TLS = 'postgres-tls'

/** Over the network with TLS and a password alone; the socket is for the two containers of this pod. */
const ACCESS = `local all all trust
hostssl all all all scram-sha-256
`

/**
 * Makes the role and the database of each service where they are missing and sets the mounted password, again and again, so that a new
 * service and a changed password need no restart. Passwords go in by psql's own backquotes: neither arguments nor the log show them.
 */
const ROLES_SCRIPT = `set -u
# A shell that is process 1 would not end otherwise, and waits for what it has begun.
trap 'exit 0' TERM
# By TCP, which the server that only initialises does not have.
until pg_isready --quiet --host 127.0.0.1; do sleep 1; done
while true; do
  while read -r role database connections; do
    # A new role's password comes to this pod a moment later than its name.
    [ -s "/etc/postgres-roles/$role" ] && [ -s "/etc/postgres-roles/$role-owner" ] || continue
    export role database connections
    psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --host /var/run/postgresql --username postgres --output /dev/null --file /etc/postgres-setup/roles.sql ||
      echo "role $role: tried again in 10 s" >&2
  done < /etc/postgres-setup/databases
  sleep 10 & wait $!
done
`

// Two roles per service: one owns the tables and migrates them, the other reads and writes rows. What is granted already is not granted
// again, since each grant makes every session plan its statements again.
const ROLES_SQL = String.raw`\getenv role role
\getenv database database
\getenv connections connections
\set owner :role '-owner'
\set password ${'`'}cat "/etc/postgres-roles/$role"${'`'}
\set owner_password ${'`'}cat "/etc/postgres-roles/$role-owner"${'`'}
set log_statement = 'none';
set log_min_error_statement = 'panic';
set lock_timeout = '3s';
select format('create role %I login', name) from unnest(array[:'role', :'owner']) name where not exists (select from pg_roles where rolname = name) \gexec
select format('alter role %I password %L connection limit %s', :'role', :'password', :'connections') \gexec
select format('alter role %I password %L connection limit %s', :'owner', :'owner_password', :'connections') \gexec
select format('create database %I owner %I', :'database', :'owner') where not exists (select from pg_database where datname = :'database') \gexec
select format('revoke all on database %I from public', datname) from pg_database where datname in (:'database', 'postgres', 'template1') and has_database_privilege('public', oid, 'connect') \gexec
\connect :database
set log_statement = 'none';
set log_min_error_statement = 'panic';
set lock_timeout = '3s';
begin;
select format('reassign owned by %I to %I', :'role', :'owner') where exists (select from pg_class where relowner = quote_ident(:'role')::regrole) or exists (select from pg_database where datname = :'database' and datdba = quote_ident(:'role')::regrole) \gexec
select format('grant connect on database %I to %I', :'database', :'role') where not has_database_privilege(:'role', :'database', 'connect') \gexec
select format('grant usage on schema public to %I', :'role') where not has_schema_privilege(:'role', 'public', 'usage') \gexec
select format('grant select, insert, update, delete on %I.%I to %I', schemaname, tablename, :'role') from pg_tables where schemaname = 'public' and not has_table_privilege(:'role', format('%I.%I', schemaname, tablename), 'delete') \gexec
select format('grant usage on all sequences in schema public to %I', :'role') where exists (select from pg_sequences where schemaname = 'public' and not has_sequence_privilege(:'role', format('%I.%I', schemaname, sequencename), 'usage')) \gexec
select format('alter default privileges for role %I in schema public grant %s to %I', :'owner', rights, :'role') from unnest(array['select, insert, update, delete on tables', 'usage on sequences']) rights where not exists (select from pg_default_acl where defaclrole = quote_ident(:'owner')::regrole) \gexec
commit;
`

/** What a pod keeps open: its pool, and where it has an outbox, the connection that listens for it. */
const connectionsOf = (service: ServiceDefinition): number => DEFAULT_POOL_SIZE + (hasOutbox(service) ? 1 : 0)

/** What all pods keep open: a fast rollout has all new ones while all old ones still finish, and each new one migrates. */
const sessionsOf = (client: ServiceDefinition): number => client.scale.max * (2 * connectionsOf(client) + 1)

/**
 * One Postgres with a role and a database for each service, which can enter no other. For kind and for trying: in production each
 * `<service>-database` Secret has the URL of a managed one.
 */
export function addPostgres(scope: Construct, context: Context): void {
  const { system, settings } = context
  const namespace = settings.NAMESPACE
  const image = imagesFor(settings).postgres
  const owner: Owner = { name: POSTGRES, component: 'database', partOf: system.name, version: versionOf('postgres', image) }
  const clients = system.services.filter(({ database }) => database)
  const connections = clients.reduce((sum, client) => sum + sessionsOf(client), 20)
  addServiceAccount(scope, owner, namespace)
  make(ConfigMap, scope, owner, {
    metadata: { name: 'postgres-setup', namespace },
    data: {
      'roles.sh': ROLES_SCRIPT,
      'roles.sql': ROLES_SQL,
      'pg_hba.conf': ACCESS,
      // initdb asks for the name of its user, and the image knows no user above 10000.
      passwd: `postgres:x:${UID}:${UID}::/var/lib/postgresql:/bin/sh\n`,
      databases: clients.map(client => `${client.name} ${client.database} ${sessionsOf(client)}\n`).join(''),
    },
  })
  make(k8s.KubeService, scope, owner, {
    metadata: { name: POSTGRES, namespace },
    spec: {
      type: 'ClusterIP',
      clusterIp: 'None',
      selector: selectorOf(owner),
      ports: [{ name: 'postgres', port: POSTGRES_PORT, targetPort: k8s.IntOrString.fromString('postgres') }],
    },
  })
  make(k8s.KubeStatefulSet, scope, owner, {
    metadata: { name: POSTGRES, namespace, annotations: pinnedImages },
    spec: {
      serviceName: POSTGRES,
      replicas: 1,
      selector: { matchLabels: selectorOf(owner) },
      template: {
        metadata: { labels: labelsOf(owner), annotations: { 'kubectl.kubernetes.io/default-container': POSTGRES } },
        spec: {
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
            { name: 'setup', configMap: { name: 'postgres-setup' } },
            { name: 'password', secret: { secretName: POSTGRES, defaultMode: 0o440 } },
            { name: 'roles', secret: { secretName: ROLES_SECRET, defaultMode: 0o440 } },
            { name: 'tls', secret: { secretName: POSTGRES_TLS, defaultMode: 0o440 } },
          ],
        },
      },
      volumeClaimTemplates: [
        {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          metadata: { name: 'data', labels: selectorOf(owner) },
          spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: quantity('1Gi') } } },
        },
      ],
    },
  })
  addNetworkPolicy(scope, settings, owner, namespace, {
    ingress: clients.map(({ name }) => ({ peer: podsOf(name), ports: [POSTGRES_PORT] })),
    egress: [],
  })
}

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
  resources: resources({ cpu: '50m', memory: '128Mi' }, { cpu: '2', memory: '512Mi' }),
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

/** A sidecar, since roles are needed for as long as the server runs. */
const roles = (image: string): k8s.Container =>
  nativeSidecar({
    name: 'roles',
    image,
    imagePullPolicy: 'IfNotPresent',
    command: ['/bin/sh', '/etc/postgres-setup/roles.sh'],
    securityContext: containerSecurity(),
    resources: resources({ cpu: '10m', memory: '16Mi' }, { cpu: '200m', memory: '64Mi' }),
    volumeMounts: [
      { name: 'tmp', mountPath: '/tmp' },
      { name: 'socket', mountPath: '/var/run/postgresql' },
      { name: 'setup', mountPath: '/etc/postgres-setup', readOnly: true },
      { name: 'setup', mountPath: '/etc/passwd', subPath: 'passwd', readOnly: true },
      { name: 'roles', mountPath: '/etc/postgres-roles', readOnly: true },
    ],
  })
