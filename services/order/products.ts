import { Failure, type Scope } from '@fairlead/chassis'
import { type Queries, statement } from '@fairlead/chassis/data'
import { euros } from '../money.ts'
import type { OrderItem, Product } from './contract.ts'

export interface ProductRow {
  sku: string
  name: string
  description: string
  price: number
}

/** What a customer asks for. */
export interface Line {
  sku: string
  quantity: number
}

const PRODUCT = 'sku, name, description, price_amount as price'
const PRODUCTS = statement<ProductRow>('product-list', `select ${PRODUCT} from products order by sku`)
const PRODUCT_BY_SKU = statement<ProductRow>('product-by-sku', `select ${PRODUCT} from products where sku = $1`)
const PRODUCTS_BY_SKU = statement<ProductRow>('products-by-sku', `select ${PRODUCT} from products where sku = any($1)`)

export const listProducts = (queries: Queries, scope: Scope): Promise<ProductRow[]> => queries.query(scope, PRODUCTS)

export const findProduct = async (queries: Queries, scope: Scope, sku: string): Promise<ProductRow | undefined> =>
  (await queries.query(scope, PRODUCT_BY_SKU, [sku]))[0]

/**
 * The lines as they are offered now, which an order keeps.
 * @throws Failure `unknown-sku`
 */
export async function offer(queries: Queries, scope: Scope, lines: readonly Line[]): Promise<OrderItem[]> {
  const products = new Map((await queries.query(scope, PRODUCTS_BY_SKU, [lines.map(line => line.sku)])).map(row => [row.sku, row]))
  return lines.map(({ sku, quantity }) => {
    const product = products.get(sku)
    if (!product) throw new Failure('not-found', 'unknown-sku', `There is no product ${sku}`)
    return { sku, name: product.name, quantity, unitPrice: euros(product.price) }
  })
}

export const toProduct = ({ sku, name, description, price }: ProductRow): Product => ({ sku, name, description, price: euros(price) })
