/** Whom a workload token is for: one service of one system. */
export const workloadAudience = (service: string, namespace: string) => `${service}.${namespace}`

/** Who a workload token is from: a service by its ServiceAccount, as Kubernetes names it. */
export const workloadSubject = (service: string, namespace: string) => `system:serviceaccount:${namespace}:${service}`
