import { styleText } from 'node:util'
import type { Measured } from './rounds.ts'

export interface Results {
  node: string
  /** What could not be as it should, for the reader. */
  notes: string[]
  products?: Measured[]
  orders?: { perSecond: number; p50Ms: number; p99Ms: number; statementsPerSecond: number; ratio: number; confirmed: number; with: string }
  readyMs?: number
  /** When nothing is asked of it for 5 s, by what was before and by service. */
  residentMiB?: Record<'after start' | 'after load', Record<string, number>>
  stages?: Measured[]
  /** By what the collector does; the first takes spans. */
  collector?: (Measured & { residentMiB: number })[]
}

export const hasResults = ({ node, notes, ...measured }: Results): boolean => Object.keys(measured).length > 0

export interface Budget {
  text: string
  value: string
  met: boolean
}

export const OURS = 'order service'
export const BARE = 'Koa, bare'

/** What the design promises, beside what was measured. */
export function budgets({ products, readyMs, residentMiB, collector = [] }: Results): Budget[] {
  const list: Budget[] = []
  const find = (name: string) => products?.find(row => row.name === name)
  const ours = find(OURS)
  if (ours) {
    list.push({ text: 'at least 70 % of bare Koa', value: percent(ours.ratio), met: ours.ratio >= 0.7 })
    for (const name of ['NestJS', 'Fastify']) {
      const lead = ours.ratio / (find(name)?.ratio as number)
      list.push({ text: `above ${name} with the same telemetry`, value: `${lead.toFixed(2)} times`, met: lead > 1 })
    }
  }
  if (readyMs !== undefined) list.push({ text: 'ready within 1.0 s', value: `${(readyMs / 1_000).toFixed(2)} s`, met: readyMs <= 1_000 })
  for (const [when, services] of Object.entries(residentMiB ?? {})) {
    for (const [name, mib] of Object.entries(services)) {
      list.push({ text: `${name} at most 120 MiB at rest ${when}`, value: `${mib.toFixed(0)} MiB`, met: mib <= 120 })
    }
  }
  for (const { name, p99Ratio } of collector.slice(1))
    list.push({ text: `p99 within 5 % while the collector ${name}`, value: `${p99Ratio.toFixed(2)} times`, met: p99Ratio <= 1.05 })
  return list
}

export function print(results: Results): string {
  const { products, orders, stages, collector, notes } = results
  const parts: string[] = []
  if (products) {
    const head = ['GET /products/{sku}', 'requests/s', 'p50', 'p99', 'to bare Koa', 'CPU a request', 'spans a request', 'core used']
    parts.push(table(head, products.map(productRow)))
  }
  if (orders) {
    const head = ['POST /orders', 'orders/s', 'p50', 'p99', 'ratio']
    parts.push(
      table(head, [
        [orders.with, orders.statementsPerSecond.toFixed(0), '', '', '100 %'],
        ['user and order service', orders.perSecond.toFixed(0), ms(orders.p50Ms), ms(orders.p99Ms), percent(orders.ratio)],
      ]),
      `${percent(orders.confirmed)} of the orders were confirmed at once`,
    )
  }
  if (stages) {
    const [all, ...others] = stages as [Measured, ...Measured[]]
    const rows = others.map(row => [row.name, `+${((row.ratio - 1) * 100).toFixed(1)} %`.replace('+-', '-'), micros(all.cpuMicros - row.cpuMicros)])
    parts.push(table(['without the stage', 'throughput', 'CPU saved a request'], rows), `all stages: ${micros(all.cpuMicros)} a request`)
  }
  if (collector) {
    const head = ['the collector', 'throughput', 'p99', 'ratio of p99', 'CPU a request', 'memory']
    const row = (at: (typeof collector)[number]) => [
      at.name,
      percent(at.ratio),
      ms(at.p99Ms),
      at.p99Ratio.toFixed(2),
      micros(at.cpuMicros),
      `${at.residentMiB.toFixed(0)} MiB`,
    ]
    parts.push(table(head, collector.map(row)))
  }
  const list = budgets(results)
  if (list.length > 0) {
    const mark = (met: boolean) => (met ? styleText('green', 'met') : styleText('red', 'not met'))
    parts.push(
      table(
        ['budget', 'measured', ''],
        list.map(({ text, value, met }) => [text, value, mark(met)]),
      ),
    )
  }
  return `${[...parts, ...notes.map(note => `Note: ${note}`)].join('\n\n')}\n`
}

const productRow = (row: Measured) => [
  row.name,
  row.perSecond.toFixed(0),
  ms(row.p50Ms),
  ms(row.p99Ms),
  percent(row.ratio),
  micros(row.cpuMicros),
  row.spans.toFixed(1),
  percent(row.busy),
]

const ms = (value: number) => `${value.toFixed(1)} ms`
const micros = (value: number) => (Number.isNaN(value) ? '-' : `${value.toFixed(0)} µs`)
const percent = (share: number) => (Number.isNaN(share) ? '-' : `${(share * 100).toFixed(0)} %`)

/** The first column to the left, the others to the right. */
function table(head: string[], rows: string[][]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map(row => row[i]?.length ?? 0)))
  const line = (cells: string[]) =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd()
  return [line(head), widths.map(width => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n')
}
