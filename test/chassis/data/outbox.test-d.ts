/** Nothing here runs. tsc checks that each wrong use below does not compile: an unused @ts-expect-error is itself an error. */
import type { CommandName } from '../../../services/chassis/contract/commands.ts'
import { defineService } from '../../../services/chassis/contract/graph.ts'
import { implement } from '../../../services/chassis/contract/implement.ts'
import type { Scope } from '../../../services/chassis/contract/scope.ts'
import type { Transaction } from '../../../services/chassis/data/database.ts'
import type { Settle } from '../../../services/chassis/data/delivery.ts'
import type { Outbox } from '../../../services/chassis/data/outbox.ts'
import { booking, stock } from '../../support/commands.ts'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

export const commands: Same<CommandName<typeof booking>, 'stock.reserve' | 'stock.release'> = true
export const none: Same<CommandName<typeof stock>, never> = true

export async function sends(outbox: Outbox<typeof booking>, tx: Transaction, scope: Scope, id: string) {
  const body = { sku: 'bike' }
  const message = await outbox.send(tx, scope, 'stock.reserve', id, { params: { id }, body })
  const attempt = await outbox.attempt(scope, message, async answer => ('problem' in answer ? answer.problem.code : answer.body.left))
  if (attempt.kind === 'settled') attempt.value satisfies 'unknown-sku' | 'sold-out' | 'too-many-reservations' | number
  await outbox.send(tx, scope, 'stock.release', id, { params: { id } })
  // @ts-expect-error no edge names this operation as a command
  await outbox.send(tx, scope, 'stock.count', id, {})
  // @ts-expect-error a parameter is missing
  await outbox.send(tx, scope, 'stock.release', id, {})
  // @ts-expect-error the body is missing
  await outbox.send(tx, scope, 'stock.reserve', id, { params: { id } })
  // @ts-expect-error the contract knows no such member
  await outbox.send(tx, scope, 'stock.reserve', id, { params: { id }, body: { ...body, colour: 'red' } })
  // @ts-expect-error outside of a transaction nothing is sent
  await outbox.send({ query: tx.query }, scope, 'stock.release', id, { params: { id } })
}

const nothing = async () => {}
const settle: Settle<typeof booking> = {
  'stock.reserve': async (answer, { subject }) => {
    if (!('problem' in answer)) return answer.body.left
    if (answer.status === 409) answer.problem.code satisfies 'sold-out'
    // @ts-expect-error the contract declares no such problem
    if (answer.problem.code === 'broken') return 0
    return subject
  },
  'stock.release': async answer => {
    answer.status satisfies 204
    // @ts-expect-error the contract declares no problem
    answer.problem
  },
}

const migrations = new URL('./migrations/', import.meta.url)
export const settled = implement(booking, { migrations, start: () => ({ handlers: {}, settle }) })
// @ts-expect-error commands are sent and not settled
implement(booking, { migrations, start: () => ({ handlers: {} }) })
// @ts-expect-error one command is not settled
implement(booking, { migrations, start: () => ({ handlers: {}, settle: { 'stock.reserve': nothing } }) })
// @ts-expect-error a service without commands settles none
implement({ ...booking, calls: [] }, { migrations, start: () => ({ handlers: {}, settle: { 'stock.reserve': nothing } }) })

const edge = { to: stock, mode: 'optional', attemptTimeoutMs: 300 } as const
defineService({ ...booking, calls: [{ ...edge, commands: ['release'] }] })
// @ts-expect-error a command may come again, so it is PUT or DELETE
defineService({ ...booking, calls: [{ ...edge, commands: ['count'] }] })
// @ts-expect-error a command is for workloads
defineService({ ...booking, calls: [{ ...edge, commands: ['release', 'show'] }] })
// @ts-expect-error there is no such operation
defineService({ ...booking, calls: [{ ...edge, commands: ['remove'] }] })
const { database: _, ...stateless } = booking
// @ts-expect-error commands wait in a database
defineService({ ...stateless, calls: [{ ...edge, commands: ['release'] }] })
defineService({ ...stateless, calls: [edge] })
