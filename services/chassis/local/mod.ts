/** What stands in on one machine for what a cluster has: a Postgres of its own, and ports that are free. */

export { freePort, isFree } from './ports.ts'
export { asSuperuser, type DatabaseUrls, ensureDatabase, type Postgres, type PostgresOptions, startPostgres } from './postgres.ts'
