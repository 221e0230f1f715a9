import type { SystemDefinition } from '@fairlead/chassis'
import { burnAlerts } from './burn-alerts.ts'
import { callerTimeout } from './caller-timeout.ts'
import { cycle } from './cycle.ts'
import { dependencySlo } from './dependency-slo.ts'
import { disruptionBudget } from './disruption-budget.ts'
import { gracePeriod } from './grace-period.ts'
import { grpcNumbers } from './grpc-numbers.ts'
import { imageTag, movingTag } from './image-tag.ts'
import { keepAlive } from './keep-alive.ts'
import { limits } from './limits.ts'
import { memory } from './memory.ts'
import { oneOfEach } from './one-of-each.ts'
import { ports } from './ports.ts'
import { privateOperations, publicPathOwners } from './public-paths.ts'
import { type Check, type GraphCheck, Refused, type Subject } from './refused.ts'
import { retryTime } from './retry-time.ts'
import { runbooks } from './runbooks.ts'
import { serviceMonitor } from './service-monitor.ts'
import { trustedHops } from './trusted-hops.ts'

const GRAPH_CHECKS: GraphCheck[] = [
  cycle,
  callerTimeout,
  retryTime,
  dependencySlo,
  burnAlerts,
  publicPathOwners,
  privateOperations,
  grpcNumbers,
  memory,
]

const CHECKS: Check[] = [
  ...GRAPH_CHECKS,
  keepAlive,
  trustedHops,
  gracePeriod,
  disruptionBudget,
  limits,
  imageTag,
  movingTag,
  ports,
  serviceMonitor,
  oneOfEach,
  runbooks,
]

const refuse = (problems: readonly string[]) => {
  if (problems.length > 0) throw new Refused(problems)
}

/** Every breach of every rule of the graph. */
export const graphProblems = (system: SystemDefinition): string[] => GRAPH_CHECKS.flatMap(check => check({ system }))

/** What `npm start` refuses. @throws Refused with every breach of every rule of the graph */
export const refuseImpossibleGraph = (system: SystemDefinition): void => refuse(graphProblems(system))

/** @throws Refused with every breach of every rule at once */
export const refuseImpossible = (subject: Subject): void => refuse(CHECKS.flatMap(check => check(subject)))
