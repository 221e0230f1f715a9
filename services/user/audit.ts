import type { Scope } from '@fairlead/chassis'

export type AuditEvent =
  | 'registered'
  | 'logged-in'
  | 'log-in-failed'
  | 'refreshed'
  | 'refresh-reused'
  | 'logged-out'
  | 'password-changed'
  | 'password-change-failed'

/** Writes down what happened to an account, by ids alone: no name, address or token, so that the trail may be kept for long. */
export function audit({ log, span }: Scope, event: AuditEvent, { userId, sessionId }: { userId: string; sessionId?: string | undefined }): void {
  const line = { event, user_id: userId, session_id: sessionId, trace_id: span.spanContext().traceId }
  if (event === 'refresh-reused') log.warn(line, 'audit')
  else log.info(line, 'audit')
}
