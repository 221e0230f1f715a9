import type { Span } from '@opentelemetry/api'
import type { Logger } from 'pino'
import type { Deadline } from './deadline.ts'

/** What one unit of work (a request, a relay's attempt) carries along: how long it may take, its span and its log. */
export interface Scope {
  deadline: Deadline
  span: Span
  log: Logger
}
