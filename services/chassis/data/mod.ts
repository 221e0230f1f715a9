/** A service's Postgres: statements and transactions, idempotency keys, the outbox, housekeeping. */
export type { Database, Queries, Transaction } from './database.ts'
export { type AnswerTo, DeadLetter, type Settling } from './delivery.ts'
export { startHousekeeping } from './housekeeping.ts'
export { type Claim, claimKey, fingerprintOf, purgeKeys, recordAnswer, recordKey, type StoredAnswer } from './idempotency.ts'
export type { Message } from './messages.ts'
export type { Outbox } from './outbox.ts'
export { type Statement, statement } from './statement.ts'
