/** A service's Postgres: statements and transactions, idempotency keys, the outbox, housekeeping. */
export { type Database, type Queries, type Statement, statement } from './database.ts'
export { startHousekeeping } from './housekeeping.ts'
export { type Claim, claimKey, fingerprintOf, purgeKeys, recordAnswer, recordKey, type StoredAnswer } from './idempotency.ts'
export { dequeue, enqueue, handOver, type Message, type Outcome, startRelay } from './outbox.ts'
