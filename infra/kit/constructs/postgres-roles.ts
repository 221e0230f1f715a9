import type { k8s } from 'cdk8s-plus-27'
import { nativeSidecar } from '../objects/newer-fields.ts'
import { containerSecurity, resources, UID } from '../objects/restricted.ts'

/** Name of the Secret with a password for each role, in a key of the role's name. */
export const ROLES_SECRET = 'postgres-roles'

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

/** Files of the ConfigMap that both containers read. */
export const setupFiles = (databases: readonly { name: string; database: string; sessions: number }[]): Record<string, string> => ({
  'roles.sh': ROLES_SCRIPT,
  'roles.sql': ROLES_SQL,
  'pg_hba.conf': ACCESS,
  // initdb asks for the name of its user, and the image knows no user above 10000.
  passwd: `postgres:x:${UID}:${UID}::/var/lib/postgresql:/bin/sh\n`,
  databases: databases.map(({ name, database, sessions }) => `${name} ${database} ${sessions}\n`).join(''),
})

/** A sidecar, since roles are needed for as long as the server runs. */
export const roles = (image: string): k8s.Container =>
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
