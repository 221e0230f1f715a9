import { DEFAULT_RESOURCES, type ServiceDefinition } from '@fairlead/chassis'
import { OUTBOX_AGE_SECONDS } from '../alerts/health-alerts.ts'
import { oldSpaceMiB } from '../objects/memory.ts'
import { parseQuantity } from '../objects/quantity.ts'
import type { Panel } from './grafana.ts'
import { OF, rate } from './queries.ts'

/** What a service can run out of. */
export function saturationPanels({ maxConcurrency, database, resources = DEFAULT_RESOURCES, grpc }: ServiceDefinition): Panel[] {
  // Both have the labels of the pod alone, so that `or` would leave one of them out.
  const active = grpc ? `{__name__=~"http_server_active_requests|rpc_server_active_calls",${OF}}` : `http_server_active_requests{${OF}}`
  return [
    {
      title: 'In flight',
      description: 'Requests that a pod works on, and how many it may: that shrinks under overload and grows again, up to the line.',
      unit: 'short',
      limit: maxConcurrency,
      queries: [
        { expr: `sum by (pod) (${active})`, legend: '{{pod}}' },
        { expr: `max by (pod) (http_server_concurrency_limit{${OF}})`, legend: '{{pod}}, limit' },
      ],
    },
    {
      title: 'Waiting',
      description: 'Requests that a pod has read and not begun. A queue that stands is overload: what waits too long is shed.',
      unit: 'short',
      queries: [{ expr: `max by (pod) (http_server_waiting_requests{${OF}})`, legend: '{{pod}}' }],
      runbook: 'slo-error-burn',
    },
    {
      title: 'Shed',
      description:
        'Requests a second that are answered 503 overloaded: queue waited too long (gone: and hung up before), waiting-body had a long body beside too many, concurrency found no place, source had its share (429).',
      unit: 'reqps',
      queries: [{ expr: `sum by (reason) (${rate('http_server_shed_requests_total')})`, legend: '{{reason}}' }],
      runbook: 'slo-error-burn',
    },
    {
      title: 'Event loop delay, p99',
      description: 'How late timers fire: the one thread has more to do than it can.',
      unit: 's',
      queries: [{ expr: `max by (pod) (nodejs_eventloop_lag_p99_seconds{${OF}})`, legend: '{{pod}}' }],
      runbook: 'slo-latency-burn',
    },
    {
      title: 'Processor',
      description: 'Processors in use by a pod; the line is its limit.',
      unit: 'short',
      limit: parseQuantity(resources.limits.cpu),
      queries: [{ expr: `sum by (pod) (${rate('process_cpu_seconds_total', 'endpoint="admin"')})`, legend: '{{pod}}' }],
    },
    {
      title: 'Memory',
      description: 'Resident memory of a pod; at the line the kernel ends it.',
      unit: 'bytes',
      limit: parseQuantity(resources.limits.memory),
      queries: [{ expr: `max by (pod) (process_resident_memory_bytes{${OF},endpoint="admin"})`, legend: '{{pod}}' }],
      runbook: 'restarting',
    },
    {
      title: "V8's heap",
      description: 'Old generation of a pod; at the line V8 ends the process.',
      unit: 'bytes',
      limit: oldSpaceMiB({ resources }) * 2 ** 20,
      queries: [{ expr: `max by (pod) (nodejs_heap_space_size_used_bytes{${OF},space="old"})`, legend: '{{pod}}' }],
      runbook: 'restarting',
    },
    ...(database
      ? [
          {
            title: 'Database connections',
            description: 'Of all pods, by state; pending are requests that wait for one.',
            unit: 'short',
            queries: [{ expr: `sum by (state) (db_client_connection_count{${OF}})`, legend: '{{state}}' }],
          },
        ]
      : []),
  ]
}

/** What its relay still has to deliver. */
export const outboxPanels = (): Panel[] => [
  {
    title: 'Outbox',
    description:
      'Messages that are not delivered yet, parked ones, and those pending that a parked one of their subject blocks. Every pod sees the same rows, hence the largest.',
    unit: 'short',
    queries: [
      { expr: `max(outbox_pending{${OF}})`, legend: 'pending' },
      { expr: `max(outbox_parked{${OF}})`, legend: 'parked' },
      { expr: `max(outbox_blocked{${OF}})`, legend: 'blocked' },
    ],
    runbook: 'outbox-parked',
  },
  {
    title: 'Oldest message',
    description: 'Age of the oldest message in the outbox; above the line an alert follows.',
    unit: 's',
    limit: OUTBOX_AGE_SECONDS,
    queries: [{ expr: `max(outbox_oldest_age_seconds{${OF}})`, legend: 'oldest' }],
    runbook: 'outbox-stuck',
  },
  {
    title: 'Deliveries by the relay',
    description: 'Attempts a second of what no request could deliver at once, by outcome.',
    unit: 'reqps',
    queries: [{ expr: `sum by (outcome) (${rate('outbox_attempts_total')}) or on () vector(0)`, legend: '{{outcome}}' }],
    runbook: 'outbox-stuck',
  },
]

/** The way of its spans. */
export const telemetryPanels = (): Panel[] => [
  {
    title: 'Spans through the collector',
    description: 'Spans a second that the pods hand to their collectors, that these send on, and that are lost.',
    unit: 'cps',
    queries: [
      { expr: `sum(${rate('otelcol_receiver_accepted_spans_total')})`, legend: 'taken' },
      { expr: `sum(${rate('otelcol_exporter_sent_spans_total')})`, legend: 'sent' },
      {
        expr: `sum(${rate('otelcol_receiver_refused_spans_total')}) + (sum(${rate('otelcol_exporter_send_failed_spans_total')}) or vector(0)) + (sum(${rate('otelcol_exporter_enqueue_failed_spans_total')}) or vector(0))`,
        legend: 'lost',
      },
    ],
    runbook: 'target-down',
  },
  {
    title: 'Spans that never left',
    description: 'Spans a second that the service itself gave up: its queue was full, or the collector did not take them.',
    unit: 'cps',
    queries: [{ expr: `sum(${rate('trace_spans_lost_total')})`, legend: 'lost' }],
    runbook: 'target-down',
  },
  {
    title: 'Queue of the collector',
    description: 'Batches that wait for the tracing backend; it grows while that is away, up to a bound.',
    unit: 'short',
    queries: [{ expr: `max by (pod) (otelcol_exporter_queue_size{${OF}})`, legend: '{{pod}}' }],
    runbook: 'target-down',
  },
  {
    title: 'Memory of the collector',
    description: 'Resident memory of the collector beside each pod; its limiter refuses spans before the kernel ends it.',
    unit: 'bytes',
    queries: [{ expr: `max by (pod) (otelcol_process_memory_rss_bytes{${OF}})`, legend: '{{pod}}' }],
    runbook: 'restarting',
  },
]
