import type { GraphCheck } from './refused.ts'

/** A caller that gives up first leaves its callee working for nobody, and retries pile up on it. */
export const callerTimeout: GraphCheck = ({ system }) =>
  system.services.flatMap(caller =>
    caller.calls.flatMap(({ to }) =>
      caller.timeoutMs < to.timeoutMs
        ? [
            `${caller.name} -> ${to.name}: the caller's timeoutMs ${caller.timeoutMs} (services/${caller.name}/service.ts) is below its callee's ${to.timeoutMs} (services/${to.name}/service.ts)`,
          ]
        : [],
    ),
  )
