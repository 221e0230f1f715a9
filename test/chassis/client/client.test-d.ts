/** Nothing here runs. tsc checks that each wrong use below does not compile: an unused @ts-expect-error is itself an error. */
import { type Client, createClient } from '../../../services/chassis/client/client.ts'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { defineService } from '../../../services/chassis/contract/graph.ts'
import { id } from '../../../services/chassis/contract/ids.ts'
import type { Scope } from '../../../services/chassis/contract/scope.ts'
import type { Handlers } from '../../../services/chassis/server/routes.ts'
import type { Runtime } from '../../../services/chassis/telemetry/runtime.ts'
import { booking, stock } from '../../support/acme.ts'

export async function aClientNeedsAnEdge(runtime: Runtime) {
  const client: Client<typeof stock.contract> = createClient(booking, 'stock', runtime)
  // @ts-expect-error stock has no edges
  createClient(stock, 'booking', runtime)
  // @ts-expect-error booking has no edge to itself
  createClient(booking, 'booking', runtime)
  // @ts-expect-error there is no such service
  createClient(booking, 'stck', runtime)
  // @ts-expect-error a service that calls nobody, like booking in all else
  createClient(defineService({ ...booking, name: 'lonely', calls: [] }), 'stock', runtime)
  return client
}

export async function aCallHoldsToTheContract(client: Client<typeof stock.contract>, scope: Scope, id: string) {
  const body = { sku: 'bike' }
  const answer = await client.call(scope, 'reserve', { params: { id }, body })
  if (answer.status === 200 && 'body' in answer) answer.body.left satisfies number
  await client.call(scope, 'release', { params: { id } })
  await client.call(scope, 'listItems', {})
  // @ts-expect-error there is no such operation
  await client.call(scope, 'hold', { params: { id }, body })
  // @ts-expect-error a parameter is missing
  await client.call(scope, 'reserve', { body })
  // @ts-expect-error the body is missing
  await client.call(scope, 'reserve', { params: { id } })
  // @ts-expect-error a name is a text
  await client.call(scope, 'reserve', { params: { id }, body: { sku: 7 } })
  // @ts-expect-error the contract knows no such member
  await client.call(scope, 'reserve', { params: { id }, body: { ...body, colour: 'red' } })
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
