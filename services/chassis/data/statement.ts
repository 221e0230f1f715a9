import { type Attributes, SpanKind, type Tracer } from '@opentelemetry/api'
import pg from 'pg'
import { deadlineExceeded } from '../contract/failure.ts'
import type { Scope } from '../contract/scope.ts'
import { fixed } from '../telemetry/otlp.ts'
import { childSpan, failSpan } from '../telemetry/tracing.ts'
import { isRead, type Queryable } from './reads.ts'

/** One named SQL statement: prepared once per connection, and the name of its span. `Row` is what a row looks like. */
export interface Statement<Row> {
  readonly name: string
  readonly text: string
  /** Whether it can only read, and so share its connection. */
  readonly reads: boolean
  readonly row?: Row
}

/** @example const productBySku = statement<Product>('product-by-sku', 'select * from products where sku = $1') */
export const statement = <Row = never>(name: string, text: string): Statement<Row> => ({ name, text, reads: isRead(text) })

export type RunStatement = <Row>(client: Queryable, scope: Scope, statement: Statement<Row>, values: readonly unknown[]) => Promise<Row[]>

/**
 * Runs statements, each in a span that has the statement as it is prepared: values are never part of it. One whose caller has given up is
 * not begun.
 */
export function createRunStatement(tracer: Tracer, url: string): RunStatement {
  const { hostname, pathname } = new URL(url)
  const place = { 'db.system.name': 'postgresql', 'db.namespace': decodeURIComponent(pathname.slice(1)), 'server.address': hostname }
  const known = new WeakMap<object, Attributes>()
  const attributesOf = (statement: Statement<unknown>) => {
    const { name, text } = statement
    const attributes = known.get(statement) ?? fixed({ ...place, 'db.query.summary': name, 'db.query.text': text })
    known.set(statement, attributes)
    return attributes
  }
  return async <Row>(client: Queryable, scope: Scope, statement: Statement<Row>, values: readonly unknown[]) => {
    scope.cancellation?.signal.throwIfAborted()
    // A process that stood still comes here before its timers tell of it.
    if (scope.deadline.remainingMs() === 0) throw deadlineExceeded()
    const span = childSpan(tracer, scope.span, statement.name, { kind: SpanKind.CLIENT, attributes: attributesOf(statement) })
    try {
      const { name, text } = statement
      const { rows } = await client.query({ name, text, values: values as unknown[] })
      return rows as Row[]
    } catch (error) {
      failSpan(span, error)
      if (error instanceof pg.DatabaseError && error.code) span.setAttribute('db.response.status_code', error.code)
      throw error
    } finally {
      span.end()
    }
  }
}
