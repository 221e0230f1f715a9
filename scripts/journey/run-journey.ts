import type { Journey } from '@fairlead/chassis'
import { connectionsTo } from './call.ts'
import { type StepOptions, type Taken, takeStep } from './take-step.ts'
import type { UserTokens } from './user-tokens.ts'
import { beginWay } from './way.ts'

export interface RunOptions extends StepOptions {
  /** Gives the access token of a user of a foreign issuer. @default nobody does */
  userToken?: UserTokens | undefined
}

/**
 * Takes a journey once. What routes and rollouts need a moment for is tried again.
 * @throws CommandError naming the step, the status and the problem code
 */
export async function runJourney({ steps }: Journey, options: RunOptions): Promise<Taken[]> {
  const dispatcher = connectionsTo(options.host)
  const way = beginWay(options.userToken)
  const taken: Taken[] = []
  try {
    for (const index of steps.keys()) taken.push(await takeStep(steps, index, way, { ...options, dispatcher }))
    return taken
  } catch (error) {
    options.signal.throwIfAborted()
    throw error
  } finally {
    await dispatcher.destroy()
  }
}
