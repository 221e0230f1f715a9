/** The constructs of a system, for charts of one's own. */
export { Alerts } from './alerts/alerts.ts'
export { Postgres, type PostgresProps } from './constructs/postgres.ts'
export { WebService, type WebServiceProps } from './constructs/web-service.ts'
export { Dashboards, type DashboardsProps } from './dashboards/dashboards.ts'
export type { ServiceProps, SystemProps } from './objects/context.ts'
