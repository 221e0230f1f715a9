import { randomBytes } from 'node:crypto'
import { isKept, KEPT_SHARE } from '@fairlead/chassis'
import { smoke } from '../../smoke.ts'
import { CommandError } from '../../terminal.ts'
import type { Check } from '../check.ts'
import type { Context } from '../context.ts'

/** A trace id of the share that is kept although nothing is wrong with it. */
export function keptTraceId(): string {
  for (;;) {
    const id = randomBytes(16).toString('hex')
    if (isKept(id, KEPT_SHARE)) return id
  }
}

const CONFIRM_MS = 15_000

/** One order, which the first who needs it places. */
export interface Order {
  traceId: string
  /** @returns its id once it was confirmed and cancelled */
  place(signal: AbortSignal): Promise<string>
}

export function createOrder({ baseUrl, settings }: Context): Order {
  const traceId = keptTraceId()
  let placed: Promise<string> | undefined
  return {
    traceId,
    place: signal => {
      placed ??= smoke({ baseUrl, host: settings.HOST, signal, traceId, cancel: true, timeoutMs: CONFIRM_MS }).then(({ orderId }) => orderId)
      return placed
    },
  }
}

/** A customer's whole way. */
export const orderChecks = (context: Context, order: Order): Check[] => [
  {
    name: 'an order',
    run: async signal => {
      try {
        return `confirmed and cancelled, ${await order.place(signal)}`
      } catch (error) {
        if (!(error instanceof CommandError)) throw error
        if (error.hint) throw new CommandError(error.message, error.hint)
        const about = ['Service', 'NetworkPolicy', 'Ingress', 'Deployment']
        throw await context.blame(
          error.message,
          ({ kind, metadata: { namespace } }) => namespace === context.settings.NAMESPACE && about.includes(kind),
          'npm run logs -- order',
        )
      }
    },
  },
]
