/** Where programs of the platform listen, for whoever else has to let them through. */
export const TRAEFIK_PORTS = { http: 8_000, https: 8_443 } as const
export const TRAEFIK_ADMIN_PORT = 8_080
export const JAEGER = { otlp: 4_317, query: 16_686, metrics: 8_888 } as const
export const PROMETHEUS_PORT = 9_090
export const ALERTMANAGER_PORT = 9_093
/** The operator's name for the configuration of an Alertmanager that is called alertmanager. */
export const ALERTMANAGER_SECRET = 'alertmanager-alertmanager'
export const OPERATOR_PORT = 8_080
