import type Koa from 'koa'
import type { ServiceDefinition } from '../../services/chassis/contract/graph.ts'
import type { Implementation } from '../../services/chassis/contract/implement.ts'
import { loadConfig } from '../../services/chassis/contract/settings.ts'
import { type ServiceConfig, serviceConfig } from '../../services/chassis/run/config.ts'
import { type Resources, wireService } from '../../services/chassis/run/wire.ts'

/** Of a request that names no deadline. A machine on which other tests run has not answered 50 at once within the second that is due. */
const TIMEOUT_MS = 10_000

/**
 * A service in this process, wired as a process of its own would be, but for what a test brings, its own database, clients and sight, and
 * for the time that a request has at most.
 */
export async function wired<D extends ServiceDefinition>(
  { service, start }: Implementation<D>,
  env: Record<string, string>,
  resources: Omit<Resources, 'config' | 'trustedHops'> & Partial<Resources>,
): Promise<{ app: Koa; grpc: Koa; close(): Promise<void> }> {
  const implementation = { service: { ...service, timeoutMs: TIMEOUT_MS }, start }
  const fields = Object.entries(serviceConfig(service)).filter(([name]) => name in env || !isBrought(name))
  const {
    app,
    grpc,
    closers = [],
  } = await wireService(implementation, {
    config: loadConfig(Object.fromEntries(fields), env) as unknown as ServiceConfig,
    trustedHops: 0,
    ...resources,
  })
  return {
    app,
    get grpc() {
      if (!grpc) throw new Error(`${service.name} is not served by gRPC`)
      return grpc
    },
    close: async () => {
      for (const close of closers) await close()
    },
  }
}

/** What a process makes of these, the test has made. */
const isBrought = (name: string) => name === 'DATABASE_URL_FILE' || name.endsWith('_IDENTITY_FILE')
