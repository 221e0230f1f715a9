import type { IPrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'
import type { Construct } from 'constructs'
import { kubeObject, type Owner } from '../objects/object.ts'
import type { PlatformContext } from '../objects/platform-owner.ts'
import { type Alert, alertRule } from './alert.ts'

/** Requests by route, status and service; the operator renames Traefik's own label `service`. */
export const ROUTER_REQUESTS = 'traefik_router_requests_total'
/** How long ahead an alert warns of a certificate's end, in days. */
export const CERTIFICATE_DAYS = { ticket: 21, page: 3 } as const

/** Failures a minute below which a share of them says nothing. */
const FEWEST_FAILURES = 5

/** What only the way in can tell: its certificates' end, and requests that came to no service. */
export function addIngressAlerts(scope: Construct, { settings }: PlatformContext, owner: Owner): void {
  const namespace = settings.INGRESS_NAMESPACE
  const of = `job="${owner.name}",namespace="${namespace}"`
  const sum = (what: string, labels = '') => `sum by (exported_service) (${what}(${ROUTER_REQUESTS}{${of}${labels}}[5m]))`
  const failed = ',code=~"5.."'
  const expires = (severity: keyof typeof CERTIFICATE_DAYS): Alert => ({
    alert: 'CertificateExpires',
    severity,
    labels: { service: owner.name, days: String(CERTIFICATE_DAYS[severity]) },
    for: '10m',
    // The newest of a name: Traefik goes on telling of those that it had before (traefik#8606).
    expr: `max by (cn, sans) (traefik_tls_certs_not_after{${of}}) - time() < ${CERTIFICATE_DAYS[severity] * 86_400}`,
    summary: 'The certificate of {{ $labels.cn }} expires',
    description: 'The certificate of {{ $labels.cn }} ({{ $labels.sans }}) is good for another {{ $value | humanizeDuration }}.',
    runbook: 'certificate-expires',
  })
  const alerts: Alert[] = [
    expires('ticket'),
    expires('page'),
    {
      alert: 'IngressErrors',
      severity: 'page',
      labels: { service: owner.name },
      for: '2m',
      expr: `${sum('rate', failed)} / ${sum('rate')} > 0.05 and ${sum('increase', failed)} > ${5 * FEWEST_FAILURES}`,
      summary: 'The ingress answers 5xx for {{ $labels.exported_service }}',
      description:
        "{{ $value | humanizePercentage }} of the requests for {{ $labels.exported_service }} are answered 5xx. Those that no pod takes are in no service's own figures.",
      runbook: 'ingress-errors',
    },
  ]
  kubeObject<IPrometheusRule>(scope, owner, {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: owner.name, namespace, labels: settings.MONITORING_LABELS },
    spec: { groups: [{ name: `${owner.name}-health`, interval: '30s', rules: alerts.map(alert => alertRule(alert, settings)) }] },
  })
}
