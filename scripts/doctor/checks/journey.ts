import { randomBytes } from 'node:crypto'
import { isKept, type Journey, KEPT_SHARE } from '@fairlead/chassis'
import { obstacle } from '../../journey/obstacle.ts'
import { runJourney } from '../../journey/run-journey.ts'
import type { Taken } from '../../journey/take-step.ts'
import type { UserTokens } from '../../journey/user-tokens.ts'
import { CommandError } from '../../terminal.ts'
import { type Check, NotHere } from '../check.ts'
import type { Context } from '../context.ts'

/** A trace id of the share that is kept although nothing is wrong with it. */
export function keptTraceId(): string {
  for (;;) {
    const id = randomBytes(16).toString('hex')
    if (isKept(id, KEPT_SHARE)) return id
  }
}

const STEP_MS = 15_000

/** One journey, which the first who needs it takes. */
export interface Trip {
  /** @throws NotHere where it cannot be taken, CommandError when it fails */
  take(signal: AbortSignal): Promise<Taken[]>
}

export function createTrip({ baseUrl, settings, fairlead }: Context, journey: Journey | undefined, userToken?: UserTokens): Trip {
  let taken: Promise<Taken[]> | undefined
  const options = {
    origin: () => baseUrl,
    host: settings.HOST,
    traceId: keptTraceId,
    stepTimeoutMs: STEP_MS,
    logs: (service: string) => fairlead(`logs ${service}`),
    userToken,
  }
  return {
    take: async signal => {
      const untaken = obstacle(journey, userToken)
      if (!journey || untaken) throw new NotHere(untaken)
      taken ??= runJourney(journey, { ...options, signal })
      return taken
    },
  }
}

/** A client's whole way. */
export const journeyChecks = (context: Context, trip: Trip): Check[] => [
  {
    name: 'journey',
    ofJourney: true,
    run: async signal => {
      try {
        return (await trip.take(signal)).map(({ title, status }) => `${title} ${status}`).join(', ')
      } catch (error) {
        if (!(error instanceof CommandError)) throw error
        const about = ['Service', 'NetworkPolicy', 'Ingress', 'Deployment']
        throw await context.blame(
          error.message,
          ({ kind, metadata: { namespace } }) => namespace === context.settings.NAMESPACE && about.includes(kind),
          error.remedy,
        )
      }
    },
  },
]
