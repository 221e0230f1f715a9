import { KEEP_ALIVE_MS } from '@fairlead/chassis'
import type { Check } from './refused.ts'

/** The side that calls must drop an idle connection first, else it sends on one that is being closed. */
export const keepAlive: Check = ({ settings }) =>
  KEEP_ALIVE_MS > settings.INGRESS_IDLE_MS
    ? []
    : [
        `the services' keep-alive of ${KEEP_ALIVE_MS} ms is not above the ingress idle timeout ${settings.INGRESS_IDLE_MS} ms (INGRESS_IDLE_MS): the ingress would send on closed connections and answer 502`,
      ]
