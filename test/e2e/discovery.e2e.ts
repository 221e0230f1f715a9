import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { imageReferences } from '../../infra/kit/image/image.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { app } from '../../infra/main.ts'
import { restoreBounds, scaleTo } from './support/scale.ts'
import { newCustomers, placeOrder } from './support/shop.ts'
import { cluster, eventually, NAMESPACE, readyPods, report, settings, sleep } from './support/target.ts'

const ORDERS = 300
/** Of the cheapest product, that a new customer's credit is good for. */
const ORDERS_PER_CUSTOMER = 34

afterAll(async () => {
  await discoverBy(settings.DISCOVERY)
  await restoreBounds()
}, 320_000)

/** Has the order service find its callees in another way, and waits until all its pods do. */
async function discoverBy(DISCOVERY: 'dns' | 'srv'): Promise<void> {
  // As few as there can be: load may have made more, which leave one by one.
  await scaleTo('order', 2)
  const { own } = synthesize({ ...app, settings: { ...settings, DISCOVERY }, images: await imageReferences(app, settings) })
  const order = own.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'order')
  await cluster.apply(order as NonNullable<typeof order>)
  const wayOf = ({ spec }: Awaited<ReturnType<typeof readyPods>>[number]) =>
    spec.containers.find(({ name }: { name: string }) => name === 'order').env.find(({ name }: { name: string }) => name === 'DISCOVERY')?.value
  await eventually(
    async () => ({ all: await cluster.list('v1', 'Pod', NAMESPACE, 'app.kubernetes.io/name=order'), ready: await readyPods('order') }),
    ({ all, ready }) => {
      const ways = ready.map(wayOf)
      if (all.length !== ready.length || ways.some(way => way !== DISCOVERY))
        throw new Error(`${all.length} pods of order, of which ready find by ${ways.join(', ') || 'nothing'}, not ${DISCOVERY}`)
    },
    180_000,
  )
}

/** Reservations that each pod of the user service was asked for so far, by its log. */
async function reservations(): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const { metadata } of await readyPods('user')) {
    const log = await cluster.logTail(NAMESPACE, metadata.name, 'user', { lines: 100_000 })
    counts.set(metadata.name, log.split(/"method":"(?:PUT","route":"\/reservations\/\{orderId\}|user\.v1\.UserService\/ReserveCredit)"/).length - 1)
  }
  return counts
}

/** Places orders, not journeys, which would make other calls in between. @returns how many reservations each pod got of them, by pod */
async function shares(orders: number): Promise<Map<string, number>> {
  const customers = await newCustomers(Math.ceil(orders / ORDERS_PER_CUSTOMER))
  const before = await reservations()
  for (let placed = 0; placed < orders; placed += 5) {
    const replies = await Promise.all(
      Array.from({ length: Math.min(5, orders - placed) }, (_, n) =>
        placeOrder(customers[Math.floor((placed + n) / ORDERS_PER_CUSTOMER)]?.token ?? ''),
      ),
    )
    for (const { status, body } of replies) expect([status, body.code]).toEqual([201, undefined])
  }
  const asked = (counts: Map<string, number>) => [...counts.values()].reduce((sum, count) => sum + count, 0)
  // Logs are written in blocks, up to a second later.
  const after = await eventually(
    reservations,
    counts => {
      if (asked(counts) - asked(before) < orders) throw new Error(`${asked(counts) - asked(before)} reservations of ${orders} are in the logs`)
    },
    20_000,
  )
  return new Map([...after].map(([pod, count]) => [pod, count - (before.get(pod) ?? 0)]))
}

const within10Percent = (counts: readonly number[]) => {
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length
  return counts.every(count => Math.abs(count - mean) <= mean * 0.1)
}

describe.each(['dns', 'srv'] as const)('by %s', way => {
  beforeAll(() => discoverBy(way), 320_000)

  test('calls spread over three pods within 10 % of the mean', async () => {
    await scaleTo('user', 3)
    // Callers ask every two or five seconds, and the cluster's DNS keeps an answer for up to thirty where it is cached.
    await sleep(5_000)
    const counts = [...(await shares(ORDERS)).values()]
    report(`${way}, ${ORDERS} orders: ${counts.join(', ')} reservations a pod`)
    expect(counts).toHaveLength(3)
    expect(within10Percent(counts)).toBe(true)
  })

  test('a new pod has its share 15 s after it is ready, and one that is gone gets none', async () => {
    await scaleTo('user', 4)
    await sleep(15_000)
    const four = [...(await shares(ORDERS)).values()]
    report(`${way}, with a fourth pod: ${four.join(', ')}`)
    expect(four).toHaveLength(4)
    expect(within10Percent(four)).toBe(true)
    await scaleTo('user', 2)
    // Every order is answered 201 in \`shares\`: a call to a pod that is gone would have cost its attempt.
    const two = [...(await shares(ORDERS)).values()]
    report(`${way}, with two left: ${two.join(', ')}`)
    expect(two).toHaveLength(2)
    expect(two.reduce((sum, count) => sum + count, 0)).toBe(ORDERS)
  })
})
