import type { Settings } from '../settings/settings.ts'

/** One rule of a PrometheusRule. */
export interface Rule {
  record?: string
  alert?: string
  expr: string
  for?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
}

export interface Alert {
  alert: string
  /** `page`: it matters now; `ticket`: within days; `none`: to nobody. */
  severity: 'page' | 'ticket' | 'none'
  labels: Record<string, string>
  expr: string
  /** How long it must be so, e.g. `5m`. */
  for: string
  summary: string
  description: string
  /** File of docs/runbooks, without its ending. */
  runbook: string
}

/** An alert as Prometheus has it: every one tells how bad it is, what happens, and where to read what to do. */
export const alertRule = (
  { alert, severity, labels, expr, for: wait, summary, description, runbook }: Alert,
  { RUNBOOKS, NAMESPACE }: Pick<Settings, 'RUNBOOKS' | 'NAMESPACE'>,
): Rule => ({
  alert,
  expr,
  for: wait,
  labels: { severity, namespace: NAMESPACE, ...labels },
  annotations: { summary, description, runbook_url: `${RUNBOOKS}/${runbook}.md` },
})
