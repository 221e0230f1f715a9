import { BURN_RATES } from '../alerts/slo-alerts.ts'
import type { GraphCheck } from './refused.ts'

/** More than everything cannot fail: with a low objective the fast burn rates ask for shares above 1, and stay silent for ever. */
export const burnAlerts: GraphCheck = ({ system }) =>
  system.services.flatMap(({ name, slo }) =>
    [
      { what: 'availability', objective: slo.availability },
      { what: 'latency.objective', objective: slo.latency.objective },
    ].flatMap(({ what, objective }) => {
      const fastest = BURN_RATES[0].burn
      const share = fastest * (1 - objective)
      if (share < 1 && objective < 1) return []
      const because =
        objective >= 1 ? 'leaves no budget to burn' : `makes the burn alert of ${fastest} times ask for ${Number(share.toFixed(2))} of all requests`
      return [`${name}: slo.${what} ${objective} (services/${name}/service.ts) ${because}: it could never tell anything`]
    }),
  )
