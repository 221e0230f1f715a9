import { type Contract, hasOperation } from './contract.ts'

/** Whether a service has operations for other services, whose tokens it then verifies; callers or not. */
export const servesWorkloads = (service: { contract: Contract }): boolean => hasOperation(service, ({ auth }) => auth === 'workload')

/** Whom a workload token is for: one service of one system. */
export const workloadAudience = (service: string, namespace: string) => `${service}.${namespace}`

/** Who a workload token is from: a service by its ServiceAccount, as Kubernetes names it. */
export const workloadSubject = (service: string, namespace: string) => `system:serviceaccount:${namespace}:${service}`
