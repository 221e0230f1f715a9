import type { GraphCheck } from './refused.ts'

/** Nobody can be more available than what they need to answer (Treynor et al., "The Calculus of Service Availability", ACM Queue 2017). */
export const dependencySlo: GraphCheck = ({ system }) =>
  system.services.flatMap(caller =>
    caller.calls.flatMap(({ to, mode }) =>
      mode === 'required' && caller.slo.availability > to.slo.availability
        ? [
            `${caller.name} -> ${to.name}: availability ${caller.slo.availability} (services/${caller.name}/service.ts) is above ${to.slo.availability} of a callee that it requires (services/${to.name}/service.ts): lower it, or make the edge optional`,
          ]
        : [],
    ),
  )
