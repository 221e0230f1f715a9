import { runbookFiles } from '../alerts/runbooks.ts'
import type { Check } from './refused.ts'

/** Every alert has a runbook to read. */
export const runbooks: Check = ({ system, root }) => {
  const known = runbookFiles(root)
  return system.services.flatMap(({ name, alerts = [] }) =>
    alerts.flatMap(({ alert, runbook }) =>
      known.has(runbook)
        ? []
        : [`${name}: the alert ${alert} has the runbook ${runbook} (alerts in service.ts), and docs/runbooks/${runbook}.md is not there`],
    ),
  )
}
