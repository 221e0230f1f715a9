/** What the command and its doctor are made with. It changes with them: nothing here is for a project. */

export { CERTIFICATE_DAYS } from './alerts/ingress-alerts.ts'
export { WATCHDOG } from './alerts/platform-alerts.ts'
export { requestsTo } from './alerts/requests.ts'
export { type RunbookDrift, runbookDrift } from './alerts/runbooks.ts'
export type { App } from './app.ts'
export { matches } from './checks/objects.ts'
export { graphProblems, refuseImpossibleGraph } from './checks/refuse.ts'
export {
  DATABASE_CA,
  DATABASE_CA_FILE,
  databaseSecret,
  ISSUER_STAND_IN,
  OWNER_CA_FILE,
  ownerSecret,
  usesStandIn,
  WORKLOAD_ISSUER,
} from './constructs/deployment.ts'
export { environmentOf } from './constructs/environment.ts'
export { certificateSecret, entryServices } from './constructs/ingress.ts'
export { POSTGRES, POSTGRES_PORT, POSTGRES_TLS } from './constructs/postgres.ts'
export { ROLES_SECRET } from './constructs/postgres-roles.ts'
export { COLLECTOR_METRICS_PORT, OTLP_HEADERS_SECRET } from './constructs/tracing-sidecar.ts'
export { DASHBOARD } from './dashboards/dashboards.ts'
export { diagramMermaid } from './diagram/mermaid.ts'
export { diagramSvg } from './diagram/svg.ts'
export { helmChart } from './helm/chart.ts'
export { ensureBase } from './image/base.ts'
export { buildImage, describeImages, imageReferences, NAMED, type ServiceImage, writeSbom } from './image/image.ts'
export { systemOwner } from './objects/context.ts'
export type { Manifest, Overlay } from './objects/manifest.ts'
export { memoryVariables } from './objects/memory.ts'
export { addNamespace } from './objects/namespace.ts'
export { labelsOf } from './objects/object.ts'
export { parseQuantity } from './objects/quantity.ts'
export { addMonitoringNamespaces } from './platform/platform.ts'
export { addIngressNamespace } from './platform/traefik.ts'
export { numbersFile, type ProtoFiles, protoFile, protoFiles } from './proto/files.ts'
export { numbersName } from './proto/numbers-file.ts'
export { GATEWAY_API_CRDS, imagesFor, PROMETHEUS_OPERATOR_CRDS, PROMETHEUS_OPERATOR_CRDS_SHA256, pinned } from './settings/images.ts'
export { OLDEST_KUBERNETES } from './settings/kubernetes-version.ts'
export { ALERTMANAGER_PORT, JAEGER, PROMETHEUS_PORT } from './settings/ports.ts'
export type { Project } from './settings/project.ts'
export { misspeltSettings, serviceFields, serviceSettingsIn } from './settings/service-settings.ts'
export { chartSettings, describeSettings, loadSettings, redirectsHttp, type Settings, settingsFor, someSettings } from './settings/settings.ts'
export { writeManifests } from './synth/run-synth.ts'
export { synthesize } from './synth/synth.ts'
