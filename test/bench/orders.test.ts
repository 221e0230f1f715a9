import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { journey } from '../../infra/journey.ts'
import { orderContract } from '../../services/order/contract.ts'
import { SCRIPTS } from './orders.ts'

test.each(Object.values(SCRIPTS))('the statements of %s are those of the order that the journey places', async script => {
  const { body } = journey.steps.find(({ operation }) => operation === orderContract.placeOrder) ?? {}
  const { items } = body as { items: { sku: string; quantity: number }[] }
  const sql = await readFile(script, 'utf8')
  const skus = [...sql.matchAll(/"sku":"([\w-]+)"/g), ...sql.matchAll(/sku = any\('\{([\w-]+)\}'\)/g)].map(([, sku]) => sku)
  expect([...new Set(skus)]).toEqual(items.map(({ sku }) => sku))
  expect(new Set([...sql.matchAll(/"quantity": (\d+)/g)].map(([, quantity]) => quantity))).toEqual(
    new Set(items.map(({ quantity }) => `${quantity}`)),
  )
})
