import { foreignIssuerOf, type SystemDefinition } from '@fairlead/chassis'
import { type Settings, usesStandIn } from '@fairlead/infra/tools'
import { readUserIssuer, USER_ISSUER_DIR } from '../local/user-issuer.ts'
import { quoted } from '../remedy.ts'
import { USER_TOKEN } from './obstacle.ts'

/** Gives an access token for `user(name)` of a journey. */
export type UserTokens = (name: string) => Promise<string>

/** Who gives them on a cluster: the stand-in where one is believed, else the environment. @returns undefined where nobody does */
export async function userTokensOn(
  system: SystemDefinition,
  settings: Settings,
  env: Record<string, string | undefined>,
): Promise<UserTokens | undefined> {
  const foreign = foreignIssuerOf(system)
  if (foreign && usesStandIn(system, settings)) return (await readUserIssuer(USER_ISSUER_DIR, foreign))?.tokenOf
  const token = env[USER_TOKEN]
  return token ? async () => token : undefined
}

/** The same in bash, for somebody who has the project here. */
export const tokenInBash = (name: string, dataDir = '.data'): string =>
  `$(npx fairlead token ${quoted(name)}${dataDir === '.data' ? '' : ` --data-dir ${quoted(dataDir)}`})`
