import type { ServiceDefinition } from '../contract/graph.ts'
import type { Implementation } from '../contract/implement.ts'
import type { Running } from '../server/serve.ts'
import { startProcess } from './process.ts'
import { wireService } from './wire.ts'

/** The process that a service is started as. @default this one */
export interface StartOptions {
  env?: Record<string, string | undefined>
  argv?: readonly string[]
}

/**
 * Runs a service until SIGTERM, by the environment of the process; with the argument `migrate` it migrates its database and ends.
 * Exits 1 with one clear message when it cannot start.
 */
export const startService = <D extends ServiceDefinition>(
  implementation: Implementation<D>,
  { env = process.env, argv = process.argv }: StartOptions = {},
): Promise<Running | undefined> => {
  const { service, migrations } = implementation
  return startProcess({ service, migrations, env, argv, wire: resources => wireService(implementation, resources) })
}
