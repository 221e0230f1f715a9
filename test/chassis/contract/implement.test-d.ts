/** Nothing here runs. tsc checks that each wrong use below does not compile: an unused @ts-expect-error is itself an error. */
import { z } from 'zod'
import { jwksOperation } from '../../../services/chassis/contract/access-token.ts'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { type CalleeName, defineService } from '../../../services/chassis/contract/graph.ts'
import { type Implementation, implement, type Wiring } from '../../../services/chassis/contract/implement.ts'
import { count } from '../../../services/chassis/contract/settings.ts'
import { startService } from '../../../services/chassis/run/start.ts'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

const rest = {
  timeoutMs: 500,
  maxConcurrency: 10,
  slo: { availability: 0.99, latency: { thresholdMs: 100, objective: 0.99 } },
  scale: { min: 1, max: 1 },
} as const

const contract = defineContract({
  greet: {
    method: 'GET',
    path: '/hello/{name}',
    summary: 'Greet',
    auth: 'none',
    params: strict({ name: z.string().max(50) }),
    responses: { 200: { description: 'The greeting', body: strict({ text: z.string() }) }, 404: { description: 'Nobody' } },
  },
})

const hello = defineService({ name: 'hello', port: 8_080, contract, ...rest })
const caller = defineService({
  name: 'caller',
  port: 8_081,
  contract,
  database: true,
  settings: { MAX: count(5) },
  secrets: { stripe: {} },
  calls: [{ to: hello, mode: 'optional', attemptTimeoutMs: 100 }],
  ...rest,
})

export const nobodyToCall: Same<CalleeName<typeof hello>, never> = true
export const oneToCall: Same<CalleeName<typeof caller>, 'hello'> = true
const migrations = new URL('./migrations/', import.meta.url)

// `status: 200` stays 200, whether the handler is asynchronous or not.
export const now = implement(hello, { start: () => ({ handlers: { greet: ({ params }) => ({ status: 200, body: { text: params.name } }) } }) })
export const later = implement(hello, { start: async () => ({ handlers: { greet: async () => ({ status: 404 }) } }) })
export const again = implement(hello, { start: now.start }) satisfies Implementation<typeof hello>
export const started = () => [startService(now), startService(now, { env: {}, argv: [] })]

// @ts-expect-error the contract declares no such status
implement(hello, { start: () => ({ handlers: { greet: () => ({ status: 201, body: { text: '' } }) } }) })
// @ts-expect-error the body is not of the declared shape
implement(hello, { start: () => ({ handlers: { greet: () => ({ status: 200, body: { text: 1 } }) } }) })
// @ts-expect-error a handler is missing
implement(hello, { start: () => ({ handlers: {} }) })
// @ts-expect-error without a database there is nothing to migrate
implement(hello, { migrations, start: () => ({ handlers: { greet: () => ({ status: 404 }) } }) })
// @ts-expect-error a service with a database says where its migrations are
implement(caller, { start: () => ({ handlers: { greet: () => ({ status: 404 }) } }) })

export const wired = implement(caller, {
  migrations,
  start: ({ settings, secrets, clients, database }) => {
    settings.MAX satisfies number
    secrets.stripe satisfies string
    // @ts-expect-error it has no such setting
    settings.MIN
    // @ts-expect-error it has no such secret
    secrets.paypal
    // @ts-expect-error it has no edge to itself
    clients.caller
    return {
      handlers: {
        greet: async ({ scope, params }) => {
          const answer = await clients.hello.call(scope, 'greet', { params })
          return 'problem' in answer ? { status: 404 } : answer
        },
      },
      jobs: { look: scope => database.ping(scope.deadline.remainingMs()) },
    }
  },
})

const forUsers = { ...contract.greet, auth: 'user' } as const
const diary = defineService({ name: 'diary', port: 8_082, contract: defineContract({ greet: forUsers }), ...rest })
const account = defineService({ name: 'account', port: 8_083, contract: defineContract({ greet: forUsers, getKeys: jwksOperation }), ...rest })
const greet = () => ({ status: 404 }) as const
const getKeys = () => ({ status: 200 as const, body: { keys: [] } })

export const verifiedByTheChassis = implement(diary, { start: ({ realm }) => ({ handlers: { greet }, closers: [async () => realm.issuer] }) })
export const verifiedByItself = implement(account, {
  start: ({ realm }) => ({ handlers: { greet, getKeys }, verifyUser: async () => ({ kind: 'user', id: realm.audience }) }),
})
// @ts-expect-error who issues tokens verifies them
implement(account, { start: () => ({ handlers: { greet, getKeys } }) })
// @ts-expect-error without users there is no realm
implement(hello, { start: ({ realm }) => ({ handlers: { greet: () => ({ status: realm ? 404 : 404 }) } }) })

export const withoutDatabase = (wiring: Wiring<typeof hello>) => {
  // @ts-expect-error it has none
  wiring.database
  // @ts-expect-error it calls nobody
  wiring.clients.caller
}
