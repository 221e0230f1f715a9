import { beforeAll, describe, expect, test } from 'vitest'
import { entryServices } from '../../infra/kit/constructs/ingress.ts'
import { system } from '../../infra/system.ts'
import { INGRESS_PORTS } from '../../scripts/cluster/kind.ts'
import { takeJourney } from './support/journey.ts'
import { http } from './support/shop.ts'
import { cluster, eventually, ingressUrl, report, settings } from './support/target.ts'
import { forgetRegistrations } from './support/throttle.ts'

const here = settings.ROUTE === 'gateway' && settings.PLATFORM === 'bundled'
if (!here) process.stderr.write('SKIPPED: the bundled Gateway cannot be tried, for this cluster routes by Ingress (ROUTE=gateway npx fairlead up)\n')

const apiVersion = 'gateway.networking.k8s.io/v1'

interface Condition {
  type: string
  status: string
}
const conditionsOf = (conditions: Condition[] = []) => Object.fromEntries(conditions.map(({ type, status }) => [type, status]))

describe.runIf(here)('the bundled Gateway', () => {
  beforeAll(forgetRegistrations)

  test('is programmed, and has every route of the graph', async () => {
    const gateway = { apiVersion, kind: 'Gateway', metadata: { name: settings.GATEWAY, namespace: settings.INGRESS_NAMESPACE } }
    await eventually(
      () => cluster.read(gateway),
      live => {
        expect(conditionsOf(live?.status?.conditions)).toMatchObject({ Accepted: 'True', Programmed: 'True' })
        const attached = live?.status.listeners.map(({ attachedRoutes }: { attachedRoutes: number }) => attachedRoutes)
        expect(attached).toEqual([entryServices({ system }).length, entryServices({ system }).length])
      },
      60_000,
    )
    for (const { name } of entryServices({ system })) {
      const route = await cluster.read({ apiVersion, kind: 'HTTPRoute', metadata: { name, namespace: settings.NAMESPACE } })
      expect(conditionsOf(route?.status?.parents?.[0]?.conditions), name).toMatchObject({ Accepted: 'True', ResolvedRefs: 'True' })
    }
  })

  test.each([ingressUrl, `https://127.0.0.1:${INGRESS_PORTS.https}`])('takes a client on the journey at %s', async baseUrl => {
    report(await takeJourney(baseUrl))
  })

  test('opens what the contracts open and nothing beside it, and obeys no deadline', async () => {
    const paths = ['/products', '/orders', '/orders-report', '/openapi.json', '/reservations/x', '/users/me/other']
    const statuses = await Promise.all(paths.map(async path => [path, (await http('GET', path)).status]))
    expect(Object.fromEntries(statuses)).toEqual({
      '/products': 200,
      '/orders': 401,
      '/orders-report': 404,
      '/openapi.json': 404,
      '/reservations/x': 404,
      '/users/me/other': 404,
    })
    expect((await http('GET', '/products', { headers: { 'x-request-timeout-ms': 'soon' } })).status).toBe(200)
  })
})
