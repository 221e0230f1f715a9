import type { Construct } from 'constructs'
import { addNamespace } from '../objects/namespace.ts'
import type { PlatformContext } from '../objects/platform-owner.ts'
import type { Settings } from '../settings/settings.ts'
import { addGrafana } from './grafana.ts'
import { addJaeger } from './jaeger.ts'
import { addMetricsServer } from './metrics-server.ts'
import { addMonitoring } from './prometheus.ts'
import { addTraefik } from './traefik.ts'

export function addMonitoringNamespaces(scope: Construct, { MONITORING_NAMESPACE, TRACING_NAMESPACE }: Settings): void {
  for (const name of new Set([MONITORING_NAMESPACE, TRACING_NAMESPACE]))
    addNamespace(scope, { name, component: 'namespace', partOf: 'platform', version: '1' }, 'restricted')
}

/** All that a bare cluster lacks: a way in, metrics, traces, alerts, dashboards, and what the autoscaler reads. */
export function addPlatform(scope: Construct, context: PlatformContext): void {
  const { settings } = context
  addMonitoringNamespaces(scope, settings)
  addTraefik(scope, context)
  addMonitoring(scope, context)
  addJaeger(scope, context)
  addMetricsServer(scope, context)
  if (settings.GRAFANA) addGrafana(scope, context)
}
