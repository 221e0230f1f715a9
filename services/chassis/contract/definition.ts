import type { z } from 'zod'
import type { Contract } from './contract.ts'
import type { SecretDefinition } from './secrets.ts'

/** One allowed call. Client, network policy, dashboard row and diagram arrow all come from it. */
export interface Edge {
  to: ServiceDefinition
  /** `required`: the caller cannot answer without the callee. `optional`: it can, and finishes later. */
  mode: 'required' | 'optional'
  /** Longest time that one attempt may take, in milliseconds. */
  attemptTimeoutMs: number
  /** Attempts in all, the first included, for idempotent operations. @default 2 */
  maxAttempts?: number
  /** What carries the calls. For `grpc` the callee has to serve it. @default 'http' */
  protocol?: 'http' | 'grpc'
  /**
   * Operations of the callee that reach it through the caller's outbox, at least once: for workloads, PUT or DELETE, since they may come again.
   * The caller needs a database for them. @default none
   */
  commands?: readonly string[]
}

export interface Slo {
  /** Share of requests that are not answered 5xx, e.g. 0.999. */
  availability: number
  /** Share (`objective`) of requests that are answered within `thresholdMs`, which becomes a histogram bucket. */
  latency: { thresholdMs: number; objective: number }
}

/** A metric of the service's own, as a panel of its dashboard. */
export interface MetricPanel {
  metric: string
  /** A counter is shown as its rate, a gauge as its largest value over the pods. */
  kind: 'counter' | 'gauge'
  /** Label that splits it. */
  by?: string
  title: string
  description: string
  /** Grafana's name of the unit, e.g. `short`, `reqps`, `s`. */
  unit: string
}

/** Raised when a counter of the service's own grows too fast. */
export interface CounterAlert {
  /** In UpperCamelCase. */
  alert: string
  /** `page`: it matters now; `ticket`: within days. */
  severity: 'page' | 'ticket'
  /** Of all pods together. */
  counter: string
  /** Growth in an hour above which it is raised. */
  perHour: number
  summary: string
  description: string
  /** File of docs/runbooks, without its ending. */
  runbook: string
}

/**
 * What `fairlead proto` keeps of a service's protobuf messages, so that a number that was given once is never given to something else: fields as
 * number and type, values of enums as numbers, and what is gone.
 */
export interface ProtoNumbers {
  methods: readonly string[]
  messages: Readonly<Record<string, Readonly<Record<string, readonly [number: number, type: string]>>>>
  enums: Readonly<Record<string, Readonly<Record<string, number>>>>
  reserved?: Readonly<Record<string, { readonly numbers: readonly number[]; readonly names: readonly string[] }>>
}

/** How a service is served by gRPC, beside HTTP. */
export interface GrpcDefinition {
  /** For callers inside of the cluster; h2c. */
  port: number
  /** From `services/<service>/proto.ts`, which `fairlead proto` writes. */
  numbers: ProtoNumbers
}

/** Kubernetes quantities, e.g. `100m` and `256Mi`. */
export interface Resources {
  requests: { cpu: string; memory: string }
  limits: { cpu: string; memory: string }
}

/** What a team says of one service. Everything else is derived from it. */
export interface ServiceDefinition {
  /** DNS label; also the name of the Kubernetes objects. */
  name: string
  /** Public port. */
  port: number
  contract: Contract
  /** The same operations by gRPC. @default by HTTP alone */
  grpc?: GrpcDefinition
  /** `true` for a database named after the service, or another name. @default none */
  database?: true | string
  /**
   * Folders of files that only it may read, by name: Secrets on a cluster, `.data/secrets/<service>/<name>/` on a laptop. Whoever runs the system
   * brings each, unless `make` says how it is made.
   */
  secrets?: Readonly<Record<string, SecretDefinition>>
  /**
   * Its settings that people may change, beside those of every service: a schema decodes the text of each. MAX_OPEN of the service `booking` is
   * BOOKING_MAX_OPEN for `npm start`, synth and deploy, and MAX_OPEN in the process. One without a default has to be given.
   */
  settings?: Readonly<Record<string, z.ZodType>>
  /** Beside what every service has. */
  panels?: readonly MetricPanel[]
  /** Beside what every service has. */
  alerts?: readonly CounterAlert[]
  calls: readonly Edge[]
  /** Longest time that a request may take, in milliseconds, whatever the caller asks for. */
  timeoutMs: number
  /** Requests in flight above which it answers 503 `overloaded`. */
  maxConcurrency: number
  slo: Slo
  scale: { min: number; max: number }
  /** @default DEFAULT_RESOURCES */
  resources?: Resources
}
