import type Koa from 'koa'
import type { ServiceDefinition } from '../../services/chassis/contract/graph.ts'
import type { Implementation } from '../../services/chassis/contract/implement.ts'
import { loadConfig } from '../../services/chassis/contract/settings.ts'
import { type ServiceConfig, serviceConfig } from '../../services/chassis/run/config.ts'
import { type Resources, wireService } from '../../services/chassis/run/wire.ts'

/** A service in this process, wired as a process of its own would be, but for what a test brings: it has its own database, clients and sight. */
export async function wired<D extends ServiceDefinition>(
  implementation: Implementation<D>,
  env: Record<string, string>,
  resources: Omit<Resources, 'config' | 'loopDelay' | 'trustedHops'> & Partial<Resources>,
): Promise<{ app: Koa; close(): Promise<void> }> {
  const fields = Object.entries(serviceConfig(implementation.service)).filter(([name]) => name in env || !isBrought(name))
  const { app, closers = [] } = await wireService(implementation, {
    config: loadConfig(Object.fromEntries(fields), env) as unknown as ServiceConfig,
    loopDelay: { currentMs: () => 0, close: () => {} },
    trustedHops: 0,
    ...resources,
  })
  return {
    app,
    close: async () => {
      for (const close of closers) await close()
    },
  }
}

/** What a process makes of these, the test has made. */
const isBrought = (name: string) => name === 'DATABASE_URL_FILE' || name.endsWith('_IDENTITY_FILE')
