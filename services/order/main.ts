import { purgeKeys, startHousekeeping, startRelay } from '@fairlead/chassis/data'
import { createAccessTokenVerifier } from '@fairlead/chassis/identity'
import { startService } from '@fairlead/chassis/run'
import { orderConfig } from './config.ts'
import { STATES } from './contract.ts'
import { orderRoutes } from './routes.ts'
import { createSaga } from './saga.ts'
import { order } from './service.ts'
import { createOrderStore } from './store.ts'
import { watchUserKeys } from './user-keys.ts'

await startService({
  service: order,
  config: orderConfig,
  migrations: new URL('./migrations/', import.meta.url),
  env: process.env,
  argv: process.argv,
  wire: async ({ config, runtime, database, client, app }) => {
    const realm = { issuer: config.AUTH_ISSUER, audience: config.AUTH_AUDIENCE }
    const user = await client('user')
    const keys = watchUserKeys(user, runtime)
    const store = createOrderStore(database, { open: config.MAX_OPEN_ORDERS, refused: config.MAX_REFUSED_ORDERS_PER_DAY })
    const states = STATES.map(state => ({ state }))
    const orders = runtime.metrics.counter('orders_total', 'Orders by the state that they reached', ['state'], states)
    const saga = createSaga({ store, database, user, orders })
    const relay = startRelay({ ...runtime, database, handle: saga.deliver })
    const housekeeping = startHousekeeping({ ...runtime, jobs: { keys: scope => purgeKeys(database, scope) } })
    const verifiers = { user: createAccessTokenVerifier(keys.lookup, realm) }
    return { app: app({ handlers: orderRoutes({ store, saga }), verifiers }), closers: [housekeeping.close, relay.close] }
  },
})
