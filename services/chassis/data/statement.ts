import { SpanKind, type Tracer } from '@opentelemetry/api'
import pg from 'pg'
import type { Scope } from '../contract/scope.ts'
import { childSpan, failSpan } from '../telemetry/tracing.ts'

/** One named SQL statement: prepared once per connection, and the name of its span. `Row` is what a row looks like. */
export interface Statement<Row> {
  readonly name: string
  readonly text: string
  readonly row?: Row
}

/** @example const productBySku = statement<Product>('product-by-sku', 'select * from products where sku = $1') */
export const statement = <Row = never>(name: string, text: string): Statement<Row> => ({ name, text })

export type RunStatement = <Row>(client: pg.ClientBase, scope: Scope, statement: Statement<Row>, values: readonly unknown[]) => Promise<Row[]>

/** Runs statements, each in a span that has the statement as it is prepared: values are never part of it. */
export function createRunStatement(tracer: Tracer, url: string): RunStatement {
  const { hostname, pathname } = new URL(url)
  const place = { 'db.system.name': 'postgresql', 'db.namespace': decodeURIComponent(pathname.slice(1)), 'server.address': hostname }
  return async <Row>(client: pg.ClientBase, scope: Scope, { name, text }: Statement<Row>, values: readonly unknown[]) => {
    const attributes = { ...place, 'db.query.summary': name, 'db.query.text': text }
    const span = childSpan(tracer, scope.span, name, { kind: SpanKind.CLIENT, attributes })
    try {
      const result = await client.query({ name, text, values: values as unknown[] })
      return result.rows as Row[]
    } catch (error) {
      failSpan(span, error)
      if (error instanceof pg.DatabaseError && error.code) span.setAttribute('db.response.status_code', error.code)
      throw error
    } finally {
      span.end()
    }
  }
}
