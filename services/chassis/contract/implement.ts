import type { z } from 'zod'
import type { Client } from '../client/client.ts'
import type { Database } from '../data/database.ts'
import type { Settle } from '../data/delivery.ts'
import type { Outbox } from '../data/outbox.ts'
import type { Verifier } from '../identity/auth.ts'
import type { Check } from '../server/health.ts'
import type { Handlers } from '../server/routes.ts'
import type { Runtime } from '../telemetry/runtime.ts'
import type { jwksOperation, TokenRealm } from './access-token.ts'
import type { CommandName } from './commands.ts'
import type { Callee, CalleeName, ServiceDefinition } from './graph.ts'
import type { Scope } from './scope.ts'

// The floors above are named here by their types alone: who imports this loads none of them.

type SettingsOf<D> = D extends { settings: infer S extends Readonly<Record<string, z.ZodType>> }
  ? { readonly [K in keyof S]: z.output<S[K]> }
  : Record<never, never>

type SecretsOf<D> = D extends { secrets: infer S } ? { readonly [N in keyof S]: string } : Record<never, never>

type OperationOf<D extends ServiceDefinition> = D['contract'][keyof D['contract']]
type ServesUsers<D extends ServiceDefinition> = 'user' extends OperationOf<D>['auth'] ? true : false
type IssuesTokens<D extends ServiceDefinition> = (typeof jwksOperation)['path'] extends OperationOf<D>['path'] ? true : false
type KnowsUsers<D extends ServiceDefinition> = ServesUsers<D> extends true ? true : IssuesTokens<D>

/** What a service is given when it starts, made from its definition. */
export type Wiring<D extends ServiceDefinition> = {
  /** Log, metrics and traces. */
  runtime: Runtime
  /** Its own settings, by name. */
  settings: SettingsOf<D>
  /** Folders of its secrets, by name. */
  secrets: SecretsOf<D>
  /** A client for each service that it calls, by name. */
  clients: { readonly [N in CalleeName<D>]: Client<Callee<D, N>['contract']> }
} & (D extends { database: true | string }
  ? {
      database: Database
      /** For the commands of its edges. */
      outbox: Outbox<D>
    }
  : unknown) &
  (KnowsUsers<D> extends true
    ? {
        /** Who issues users' access tokens, and for whom. */
        realm: TokenRealm
      }
    : unknown)

interface OwnVerifier {
  /** Checks users' access tokens. Who issues them knows more than their keys tell; for everybody else the chassis checks them. */
  verifyUser: Verifier
}

/** What a service brings itself. */
export type Started<D extends ServiceDefinition> = {
  /** One for each operation of its contract. */
  handlers: Handlers<D['contract']>
  /** What must hold for it to be ready, beside its database. */
  checks?: Record<string, Check>
  /** Closed in this order after the last request, before the clients and the database. */
  closers?: (() => Promise<unknown>)[]
} & ([ServesUsers<D>, IssuesTokens<D>] extends [true, true] ? OwnVerifier : Partial<OwnVerifier>) &
  (D extends { database: true | string }
    ? {
        /** Housekeeping, by name: each job runs every ten minutes or so, in every replica. */
        jobs?: Record<string, (scope: Scope) => Promise<unknown>>
      }
    : unknown) &
  ([CommandName<D>] extends [never]
    ? { settle?: never }
    : {
        /**
         * What the answer to each command means, in the transaction that removes its message: done exactly once. A problem that the callee's
         * contract does not declare never comes here.
         */
        settle: Settle<D>
      })

export type Implementation<D extends ServiceDefinition> = {
  service: D
  start: (wiring: Wiring<D>) => Started<D> | Promise<Started<D>>
  /** Folder of its SQL migrations. */
  migrations?: URL
}

type Brought<D extends ServiceDefinition> = Pick<Implementation<D>, 'start'> &
  (D extends { database: true | string } ? { migrations: URL } : { migrations?: never })

/**
 * A service with its code: what `startService` runs and what tests start. Nothing happens until one of them does.
 * `start` is called once; what it leaves out of the wiring is the chassis' own work: tokens of users and workloads, housekeeping of idempotency keys,
 * both servers, the drain.
 */
export const implement = <D extends ServiceDefinition>(service: D, brought: NoInfer<Brought<D>>): Implementation<D> => ({ service, ...brought })
