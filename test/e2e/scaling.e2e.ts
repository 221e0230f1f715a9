import { expect, test } from 'vitest'
import { order } from '../../services/order/service.ts'
import { restoreBounds } from './support/scale.ts'
import { http } from './support/shop.ts'
import { eventually, readyPods, report } from './support/target.ts'

test('the autoscaler adds pods under load and takes them away again', async () => {
  await restoreBounds()
  await eventually(
    () => readyPods(order.name),
    pods => expect(pods.length).toBe(order.scale.min),
    180_000,
  )
  let offering = true
  const client = async () => {
    while (offering) await http('GET', '/products').catch(() => {})
  }
  const clients = Array.from({ length: 8 }, client)
  try {
    const pods = await eventually(
      () => readyPods(order.name),
      found => expect(found.length).toBeGreaterThan(order.scale.min),
      150_000,
    )
    report(`under load: ${pods.length} pods`)
  } finally {
    offering = false
    await Promise.all(clients)
  }
  const pods = await eventually(
    () => readyPods(order.name),
    found => expect(found.length).toBe(order.scale.min),
    240_000,
  )
  report(`afterwards: ${pods.length} pods`)
})
