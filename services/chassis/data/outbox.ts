import type { Tracer } from '@opentelemetry/api'
import type { Logger } from 'pino'
import { type Command, type CommandName, type CommandOperation, commandsOf } from '../contract/commands.ts'
import type { Outgoing } from '../contract/contract.ts'
import type { ServiceDefinition } from '../contract/graph.ts'
import { newId } from '../contract/ids.ts'
import { type Scope, within } from '../contract/scope.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Database, Transaction } from './database.ts'
import { type CallCallee, createDeliver, type Settle, type Settler } from './delivery.ts'
import { type Draft, dequeue, draftOf, enqueue, handOver, type Message, nameOf } from './messages.ts'
import { type Outcome, type Relay, type RelayOptions, startRelay } from './relay.ts'
import { unknownIn } from './unknown.ts'

/** `gone`: another has settled the message, or it was withdrawn. `left`: the relay delivers it. */
export type Attempt<T> = { kind: 'settled'; value: T } | { kind: 'gone' } | { kind: 'left' }

export interface SendOptions {
  /** The sender attempts it itself after the commit; relays leave it alone until the scope's deadline has passed. @default false */
  leased?: boolean
}

/**
 * Commands to other services: written in the transaction that decides them, delivered at least once and in order per subject, settled exactly once.
 */
export interface Outbox<D> {
  /**
   * Others that send for the same subject wait until `tx` ends: what decides about a subject is locked first, then this is called.
   * @param subject what it is about, as a UUID; what was sent for it before is settled before this is tried
   */
  send<K extends CommandName<D>>(
    tx: Transaction,
    scope: Scope,
    command: K,
    subject: string,
    parts: Outgoing<CommandOperation<D, K>>,
    options?: SendOptions,
  ): Promise<Message<K>>
  /** The same, to be written by one statement that does all that decides it: see `sendingCommand`. Relays are not woken for it, so it is leased. */
  draft<K extends CommandName<D>>(scope: Scope, command: K, subject: string, parts: Outgoing<CommandOperation<D, K>>): Draft<K>
  /** Takes back what was sent of a command for a subject. It may have arrived, and a call that is under way may still arrive. */
  withdraw(tx: Transaction, scope: Scope, command: CommandName<D>, subject: string): Promise<void>
  /**
   * One attempt within the time of the request that sent a leased message, after its commit. Never throws: what fails is left to the relay, and so
   * is what waits for an earlier message of its subject.
   * @param settler in place of what the service settles that command with
   */
  attempt<K extends CommandName<D>, T>(scope: Scope, message: Message<K>, settler: Settler<CommandOperation<D, K>, T>): Promise<Attempt<T>>
}

export interface OutboxOptions<D extends ServiceDefinition> {
  service: D
  database: Database
  tracer: Tracer
  log: Logger
  metrics: Metrics
  call: CallCallee
}

export interface OpenOutbox<D extends ServiceDefinition> {
  outbox: Outbox<D>
  /** Begins to deliver what is left to the relay. */
  startRelay(settle: Settle<D>, options?: Partial<RelayOptions>): Relay
  /** One attempt as the relay makes it. */
  handlerOf(settle: Settle<D>): RelayOptions['handle']
}

/** How long a lease lasts beyond the deadline of the request that has it, in milliseconds. */
const LEASE_MARGIN_MS = 500
/** Kept back from an attempt for the answer of the request that makes it, in milliseconds. */
const ANSWER_MS = 50

export function openOutbox<D extends ServiceDefinition>({ service, database, call, ...runtime }: OutboxOptions<D>): OpenOutbox<D> {
  const commands = commandsOf(service)
  let relay: Relay | undefined
  const wake = () => relay?.wake()
  const deliver = createDeliver({ commands, database, call, wake })
  const handlerOf = (settle: Settle<D>): RelayOptions['handle'] => {
    const settlers = settle as unknown as Record<string, Settler<never, unknown>>
    for (const command of commands.keys())
      if (!settlers[command]) throw new Error(`${service.name} sends ${command} and does not settle it: add '${command}' to settle`)
    return async (message, scope): Promise<Outcome> => {
      const unknown = unknownIn(commands, message)
      if (unknown) return unknown
      const delivered = await deliver(scope, message, settlers[message.kind] as Settler<never, unknown>)
      return delivered.kind === 'retry' || delivered.kind === 'park' ? delivered : { kind: 'done' }
    }
  }
  const draft = <K extends string>(scope: Scope, command: K, subject: string, parts: object, leased: boolean) => {
    const leaseMs = leased ? scope.deadline.remainingMs() + LEASE_MARGIN_MS : 0
    const { version } = commands.get(command) as Command
    return draftOf(scope, { id: newId(), kind: command, version, subjectId: subject, payload: parts as Record<string, unknown>, leaseMs })
  }
  return {
    outbox: {
      draft: (scope, command, subject, parts) => draft(scope, command, subject, parts, true),
      send: async (tx, scope, command, subject, parts, { leased = false } = {}) => {
        const message = await enqueue(tx, scope, draft(scope, command, subject, parts, leased))
        if (!leased) tx.afterCommit(wake)
        return message
      },
      withdraw: (tx, scope, command, subject) => dequeue(tx, scope, subject, command),
      attempt: async <K extends CommandName<D>, T>(scope: Scope, message: Message<K>, settler: Settler<CommandOperation<D, K>, T>) => {
        if (message.sequence > 1) return { kind: 'left' }
        try {
          return await within(scope, ANSWER_MS, async inner => {
            const delivered = await deliver(inner, message, settler as unknown as Settler<never, T>)
            if (delivered.kind === 'settled' || delivered.kind === 'gone') return delivered
            if (delivered.kind === 'park') scope.log.error({ ...nameOf(message), reason: delivered.reason }, 'outbox message parked')
            await handOver(database, inner, message, delivered)
            return { kind: 'left' }
          })
        } catch (error) {
          // The message stands; its lease runs out and the relay takes over.
          scope.log.warn({ err: error, ...nameOf(message) }, 'outbox message left to the relay')
          return { kind: 'left' }
        }
      },
    },
    handlerOf,
    startRelay: (settle, options) => {
      relay = startRelay({ ...runtime, database, handle: handlerOf(settle), ...options })
      return relay
    },
  }
}
