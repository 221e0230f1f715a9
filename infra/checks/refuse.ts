import { burnAlerts } from './burn-alerts.ts'
import { callerTimeout } from './caller-timeout.ts'
import { cycle } from './cycle.ts'
import { dependencySlo } from './dependency-slo.ts'
import { disruptionBudget } from './disruption-budget.ts'
import { gracePeriod } from './grace-period.ts'
import { imageTag, movingTag } from './image-tag.ts'
import { keepAlive } from './keep-alive.ts'
import { limits } from './limits.ts'
import { ports } from './ports.ts'
import { privateOperations, publicPathOwners } from './public-paths.ts'
import { Refused, type Subject } from './refused.ts'
import { retryTime } from './retry-time.ts'
import { serviceMonitor } from './service-monitor.ts'
import { trustedHops } from './trusted-hops.ts'

const CHECKS = [
  cycle,
  callerTimeout,
  retryTime,
  dependencySlo,
  burnAlerts,
  publicPathOwners,
  privateOperations,
  keepAlive,
  trustedHops,
  gracePeriod,
  disruptionBudget,
  limits,
  imageTag,
  movingTag,
  ports,
  serviceMonitor,
]

/** @throws Refused with every breach of every rule at once */
export function refuseImpossible(subject: Subject): void {
  const problems = CHECKS.flatMap(check => check(subject))
  if (problems.length > 0) throw new Refused(problems)
}
