import type { Journey } from '@fairlead/chassis'
import type { UserTokens } from './user-tokens.ts'
import { sourcesOf } from './way.ts'

/** Environment variable with an access token for `user()` of a journey, whose issuer is not part of the system. */
export const USER_TOKEN = 'FAIRLEAD_USER_TOKEN'

const needsUser = ({ steps }: Journey) => sourcesOf(steps.map(({ as }) => as)).some(({ from }) => from === 'user')

/** Why a system's journey cannot be taken here, in one line; nothing where it can. */
export function obstacle(journey: Journey | undefined, userTokens: UserTokens | undefined): string | undefined {
  if (!journey) return 'the system has no journey (infra/journey.ts)'
  return needsUser(journey) && !userTokens ? `the journey is a user's, and ${USER_TOKEN} has no access token` : undefined
}
