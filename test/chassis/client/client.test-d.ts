/** Nothing here runs. tsc checks that each wrong use below does not compile: an unused @ts-expect-error is itself an error. */
import { type Client, createClient } from '../../../services/chassis/client/client.ts'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { defineService } from '../../../services/chassis/contract/graph.ts'
import { id } from '../../../services/chassis/contract/ids.ts'
import type { Scope } from '../../../services/chassis/contract/scope.ts'
import type { Handlers } from '../../../services/chassis/server/routes.ts'
import type { Runtime } from '../../../services/chassis/telemetry/runtime.ts'
import { order } from '../../../services/order/service.ts'
import type { userContract } from '../../../services/user/contract.ts'
import { user } from '../../../services/user/service.ts'

export async function aClientNeedsAnEdge(runtime: Runtime) {
  const client: Client<typeof userContract> = createClient(order, 'user', runtime)
  // @ts-expect-error user has no edges
  createClient(user, 'order', runtime)
  // @ts-expect-error order has no edge to itself
  createClient(order, 'order', runtime)
  // @ts-expect-error there is no such service
  createClient(order, 'usr', runtime)
  // @ts-expect-error a service that calls nobody, like order in all else
  createClient(defineService({ ...order, name: 'lonely', calls: [] }), 'user', runtime)
  return client
}

export async function aCallHoldsToTheContract(client: Client<typeof userContract>, scope: Scope, orderId: string, userId: string) {
  const body = { userId, total: { amount: 1, currency: 'EUR' as const } }
  const answer = await client.call(scope, 'reserveCredit', { params: { orderId }, body })
  if (answer.status === 200 && 'body' in answer) answer.body.state satisfies 'reserved'
  await client.call(scope, 'releaseCredit', { params: { orderId } })
  await client.call(scope, 'getKeys', {})
  // @ts-expect-error there is no such operation
  await client.call(scope, 'reserve', { params: { orderId }, body })
  // @ts-expect-error a parameter is missing
  await client.call(scope, 'reserveCredit', { body })
  // @ts-expect-error the body is missing
  await client.call(scope, 'reserveCredit', { params: { orderId } })
  // @ts-expect-error an amount is a number
  await client.call(scope, 'reserveCredit', { params: { orderId }, body: { userId, total: { amount: '1', currency: 'EUR' } } })
  // @ts-expect-error the contract knows no such member
  await client.call(scope, 'reserveCredit', { params: { orderId }, body: { ...body, colour: 'red' } })
}

const contract = defineContract({
  get: {
    method: 'GET',
    path: '/things/{id}',
    summary: 'Get',
    auth: 'user',
    params: strict({ id }),
    responses: { 200: { description: 'It', body: strict({ id }) } },
  },
  remove: { method: 'DELETE', path: '/things/{id}', summary: 'Remove', auth: 'none', responses: { 204: { description: 'Gone' } } },
})
type ThingHandlers = Handlers<typeof contract>

const get: ThingHandlers['get'] = async ({ params, principal }) => ({ status: 200, body: { id: params.id + principal.id } })
const remove: ThingHandlers['remove'] = async () => ({ status: 204 })

export const complete: ThingHandlers = { get, remove }
// @ts-expect-error a handler is missing
export const missing: ThingHandlers = { get }
// @ts-expect-error no operation has this handler
export const extra: ThingHandlers = { get, remove, add: remove }
// @ts-expect-error the contract declares no such status
export const wrongStatus: ThingHandlers['remove'] = async () => ({ status: 200 })
// @ts-expect-error the body is not of the declared shape
export const wrongBody: ThingHandlers['get'] = async () => ({ status: 200, body: { id: 7 } })
// @ts-expect-error without authentication there is no principal
export const noPrincipal: ThingHandlers['remove'] = async ({ principal }) => ({ status: principal.id ? 204 : 204 })
// @ts-expect-error the operation has no body
export const noBody: ThingHandlers['remove'] = async ({ body }) => ({ status: body.id ? 204 : 204 })
