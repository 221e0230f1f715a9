/** A service's Postgres: statements and transactions, idempotency keys, the outbox, housekeeping. */
export type { Database, Queries, Transaction } from './database.ts'
export { type AnswerTo, DeadLetter, type Deciding, type SettleAtOnce, type Settling } from './delivery.ts'
export { startHousekeeping } from './housekeeping.ts'
export {
  type Claim,
  claimKey,
  fingerprintOf,
  purgeKeys,
  type RequestKey,
  recordAnswer,
  recordingAnswer,
  recordingKey,
  recordKey,
  type StoredAnswer,
} from './idempotency.ts'
export { type Draft, type Message, MORE, type Removed, removingMessage, sendingCommand, type Written } from './messages.ts'
export type { Outbox } from './outbox.ts'
export { type Statement, statement } from './statement.ts'
