import { hasOutbox, type ServiceDefinition, secretsOf, servesWorkloads } from '@fairlead/chassis'
import type { Settings } from '../settings/settings.ts'
import { type Alert, alertRule, type Rule } from './alert.ts'

const DAY_SECONDS = 86_400
/** Age of a message in the outbox above which somebody should look. */
export const OUTBOX_AGE_SECONDS = 300

type Unlabelled = Omit<Alert, 'labels'> & Partial<Pick<Alert, 'labels'>>

/** What is wrong with a service whatever its requests tell. */
export function healthAlerts(service: ServiceDefinition, callers: readonly string[], settings: Settings): Rule[] {
  const of = `job="${service.name}",namespace="${settings.NAMESPACE}"`
  const alerts = [
    ...podAlerts(service, of),
    ...secretAlerts(service, of),
    ...circuitAlerts(service, of),
    ...lookupAlerts(service, of),
    ...(callers.length > 0 && servesWorkloads(service) ? [unknownKey(service, callers, of)] : []),
    ...(hasOutbox(service) ? outboxAlerts(service, of) : []),
    ...ownAlerts(service, of),
  ]
  return alerts.map(alert => alertRule({ ...alert, labels: { service: service.name, ...alert.labels } }, settings))
}

const podAlerts = ({ name, scale }: ServiceDefinition, of: string): Unlabelled[] => [
  {
    alert: 'TooFewPods',
    severity: 'page',
    for: '5m',
    // By what the pods say themselves: Prometheus goes on scraping one that is not ready.
    expr: `(sum(service_ready{${of}}) or vector(0)) < ${scale.min}`,
    summary: `${name} has fewer pods than it should`,
    description: `{{ $value }} pods of ${name} say that they are ready; its scale.min is ${scale.min}. They do not start (an image, a Secret, a migration), lack their database, or are not scraped.`,
    runbook: 'too-few-pods',
  },
  {
    alert: 'TargetDown',
    severity: 'ticket',
    for: '5m',
    expr: `up{${of}} == 0`,
    summary: `Prometheus cannot scrape a pod of ${name}`,
    description: '{{ $labels.pod }} ({{ $labels.endpoint }}) does not answer Prometheus.',
    runbook: 'target-down',
  },
  {
    alert: 'Restarting',
    severity: 'page',
    for: '1m',
    // Over an hour: between two starts the kubelet waits for up to five minutes.
    expr: `changes(process_start_time_seconds{${of},endpoint="admin"}[1h]) > 3`,
    summary: `A pod of ${name} restarts again and again`,
    description: '{{ $labels.pod }} has started {{ $value }} times in an hour.',
    runbook: 'restarting',
  },
  {
    alert: 'NotStarting',
    severity: 'ticket',
    for: '5m',
    // The collector starts before the migration and stays, so it tells of pods that never come so far as to serve.
    expr: `up{${of},endpoint="otel-metrics"} == 1 unless on (namespace, pod) up{${of},endpoint="admin"} == 1`,
    summary: `A pod of ${name} does not come to serve`,
    description: `The collector of {{ $labels.pod }} answers Prometheus, ${name} beside it does not: its migration fails, or it refuses its settings.`,
    runbook: 'not-starting',
  },
]

const secretAlerts = (service: ServiceDefinition, of: string): Unlabelled[] =>
  secretsOf(service).flatMap(({ name: secret, rotateDays }) =>
    rotateDays
      ? [
          {
            alert: 'SecretOverdue',
            severity: 'ticket',
            for: '1h',
            expr: `time() - min by (secret) (secret_since_timestamp_seconds{${of},secret="${secret}"}) > ${rotateDays * DAY_SECONDS}`,
            summary: `${secret} of ${service.name} are to be rotated`,
            description: `${secret} of ${service.name} are in use for {{ $value | humanizeDuration }}; they are to be rotated after ${rotateDays} days.`,
            runbook: 'secret-overdue',
          },
        ]
      : [],
  )

const circuitAlerts = ({ name, calls }: ServiceDefinition, of: string): Unlabelled[] =>
  calls.map(({ to, mode }) => ({
    alert: 'CircuitOpen',
    severity: mode === 'required' ? 'page' : 'ticket',
    for: '5m',
    // Half open counts: an open circuit lets one call through every second, so that a scrape finds either.
    expr: `max by (peer_service) (http_client_circuit_state{${of},peer_service="${to.name}"}) > 0`,
    // The series has it too; here it tells two rules apart.
    labels: { peer_service: to.name },
    summary: `${name} has given up calling ${to.name}`,
    description: `A circuit from ${name} to ${to.name} is open: its calls failed.`,
    runbook: 'circuit-open',
  }))

const lookupAlerts = ({ name, calls }: ServiceDefinition, of: string): Unlabelled[] =>
  calls.map(({ to }) => {
    const lookups = (outcome: string) =>
      `sum by (pod) (increase(discovery_lookups_total{${of},peer_service="${to.name}",outcome="${outcome}"}[10m])) > 0`
    return {
      alert: 'LookupsFail',
      severity: 'ticket',
      for: '5m',
      // Of each pod: one that cannot ask is among others that can.
      expr: `${lookups('failed')} unless ${lookups('found')}`,
      labels: { peer_service: to.name },
      summary: `${name} cannot find the addresses of ${to.name}`,
      description: `{{ $labels.pod }} has looked for the addresses of ${to.name} and had no answer for ten minutes. It goes on with those that it knows, as long as they last.`,
      runbook: 'lookups-fail',
    }
  })

const unknownKey = ({ name }: ServiceDefinition, callers: readonly string[], of: string): Unlabelled => ({
  alert: 'WorkloadKeyUnknown',
  severity: 'ticket',
  for: '1m',
  expr: `sum(increase(workload_unknown_key_total{${of}}[10m])) > 0`,
  summary: `${name} refuses the tokens of its callers`,
  description: `{{ $value | humanize }} calls to ${name} (from ${callers.join(', ')}, if they are what they say) came with a token of the cluster's issuer whose key it does not know: it was rotated.`,
  runbook: 'workload-key-unknown',
})

const outboxAlerts = ({ name }: ServiceDefinition, of: string): Unlabelled[] => [
  {
    alert: 'OutboxStuck',
    severity: 'page',
    for: '5m',
    expr: `max(outbox_oldest_age_seconds{${of}}) > ${OUTBOX_AGE_SECONDS}`,
    summary: `${name} cannot deliver a message`,
    description: `The oldest message in the outbox of ${name} has waited {{ $value | humanizeDuration }}.`,
    runbook: 'outbox-stuck',
  },
  {
    alert: 'OutboxParked',
    severity: 'ticket',
    for: '1m',
    expr: `max(outbox_parked{${of}}) > 0`,
    summary: `${name} has parked messages`,
    description: `{{ $value }} messages in the outbox of ${name} were refused for good. Later ones of the same subjects wait for them: outbox_blocked counts these.`,
    runbook: 'outbox-parked',
  },
]

/** Those that a service adds. */
const ownAlerts = ({ name, alerts = [] }: ServiceDefinition, of: string): Unlabelled[] =>
  alerts.map(({ counter, perHour, summary, ...alert }) => ({
    ...alert,
    for: '1m',
    expr: `sum(increase(${counter}{${of}}[1h])) > ${perHour}`,
    summary: `${name}: ${summary}`,
  }))
