import { randomBytes } from 'node:crypto'
import { isKept, KEPT_SHARE } from '../../../services/chassis/tracing.ts'
import { smoke } from '../../smoke.ts'
import { CommandError } from '../../terminal.ts'
import { type Check, Trouble } from '../check.ts'
import type { Context } from '../context.ts'

/** A trace id of the share that is kept although nothing is wrong with it. */
export function keptTraceId(): string {
  for (;;) {
    const id = randomBytes(16).toString('hex')
    if (isKept(id, KEPT_SHARE)) return id
  }
}

const CONFIRM_MS = 15_000

/** A customer's whole way, whose trace is looked for later. */
export function orderChecks(context: Context, traceId: string): Check[] {
  const { baseUrl, settings, blame } = context
  return [
    {
      name: 'an order',
      run: async signal => {
        try {
          const { orderId } = await smoke({ baseUrl, host: settings.HOST, signal, traceId, timeoutMs: CONFIRM_MS })
          return `confirmed, ${orderId}`
        } catch (error) {
          if (!(error instanceof CommandError)) throw error
          const about = ['Service', 'NetworkPolicy', 'Ingress', 'ConfigMap', 'Deployment']
          throw error.hint
            ? new Trouble(error.message, error.hint)
            : await blame(
                error.message,
                ({ kind, metadata }) => metadata.namespace === settings.NAMESPACE && about.includes(kind) && !metadata.name.endsWith('-dashboard'),
                'npm run logs -- order',
              )
        }
      },
    },
  ]
}
