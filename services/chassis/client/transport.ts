import type { Attributes } from '@opentelemetry/api'
import type { Histogram } from 'prom-client'
import type { Operation } from '../contract/contract.ts'
import type { Deadline } from '../contract/deadline.ts'
import type { Scope } from '../contract/scope.ts'
import type { RawAnswer } from './answers.ts'

export interface Parts {
  params?: unknown
  query?: unknown
  headers?: unknown
  body?: unknown
  /** For the Authorization header. */
  token?: string
}

/** One call, made once for all attempts. */
export interface Outgoing {
  /** Sends it once: the first address that takes it gets it. */
  send(scope: Scope, deadline: Deadline): Promise<RawAnswer>
  /** By OpenTelemetry's conventions for the transport. */
  spanName: string
  attributes: Attributes
  /** Labels of `duration`, but for what comes with the answer. */
  labels: Record<string, string>
}

/** What carries the calls of one edge. */
export interface Transport {
  prepare(name: string, operation: Operation, parts: Parts): Outgoing
  duration: Histogram
  /** What an answer adds to span and metric, and whether the callee failed. */
  outcome(answer: RawAnswer): { attributes: Attributes; labels: Record<string, string | number>; errorType: string }
  /** Labels of an attempt that brought nothing. */
  unanswered: Record<string, string>
  close(): Promise<void>
}
