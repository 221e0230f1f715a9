import pg from 'pg'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 })

const PRODUCT_BY_SKU = {
  name: 'product-by-sku',
  text: 'select sku, name, description, price_amount as price from products where sku = $1',
}

/** The product as the order service answers it, from the same prepared statement. */
export async function findProduct(sku) {
  const { rows } = await pool.query({ ...PRODUCT_BY_SKU, values: [sku] })
  if (rows.length === 0) return undefined
  const { name, description, price } = rows[0]
  return { sku: rows[0].sku, name, description, price: { amount: Number(price), currency: 'EUR' } }
}
