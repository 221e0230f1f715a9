import { DefinitionError } from './definition-error.ts'
import { secretVariable } from './variables.ts'

/** A folder of files that only one service may read, e.g. its signing keys. */
export interface SecretDefinition {
  /** How it is made where it is missing: as a folder of private Ed25519 JWKs. @default not at all: whoever runs the system brings it */
  make?: 'ed25519-jwk'
  /** Days after which an alert asks for a new one; the service says since when it has it (`metrics.secretSince`). */
  rotateDays?: number
}

/** The same with what it is called. */
export interface SecretFolder extends SecretDefinition {
  /** Name of the Secret; no other service of the system has it. */
  name: string
  /** Environment variable that gets the folder's path. */
  env: string
}

export const secretsOf = ({ secrets = {} }: { secrets?: Readonly<Record<string, SecretDefinition>> }): SecretFolder[] =>
  Object.entries(secrets).map(([name, definition]) => ({ ...definition, name, env: secretVariable(name) }))

/** Volumes and Secrets that a system has of itself. */
const TAKEN = /^(tmp|identity|workload-issuer|otlp-.*|postgres(-.*)?|(.*-)?database(-owner)?)$/

/** @throws Error naming a secret that cannot be called so */
export function refuseSecrets({ name, secrets = {} }: { name: string; secrets?: Readonly<Record<string, SecretDefinition>> }): void {
  for (const secret of Object.keys(secrets)) {
    if (!/^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$/.test(secret))
      throw new DefinitionError(`${name}: the secret ${secret} is not a DNS label of at most 42 characters`)
    if (TAKEN.test(secret))
      throw new DefinitionError(`${name}: the secret ${secret} cannot have that name: the kit has a Secret or volume of its own there`)
  }
}
