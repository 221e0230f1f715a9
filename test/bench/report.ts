import { styleText } from 'node:util'
import { order } from '../../services/order/service.ts'
import type { HopMeasured } from './calls.ts'
import type { Measured } from './rounds.ts'

export interface Results {
  node: string
  /** What could not be as it should, for the reader. */
  notes: string[]
  ready?: { name: string; readyMs: number }[]
  /** By connections. */
  products?: Record<number, Measured[]>
  openLoop?: { arrivalsPerSecond: number; rows: { name: string; p99Ms: number; ratio: number }[] }
  orders?: { with: string; statementsPerSecond: number; inTransactionsPerSecond: number; rows: OrdersMeasured[] }
  overload?: OverloadMeasured[]
  calls?: HopMeasured[]
  /** By what the collector does; the first takes spans. */
  collector?: (Measured & { residentMiB: number })[]
  stages?: Measured[]
  growth?: GrowthMeasured[]
  memory?: MemoryMeasured[]
}

export interface OrdersMeasured {
  name: string
  perSecond: number
  p50Ms: number
  p99Ms: number
  /** To the statements alone. */
  ratio: number
  /** Share of the orders that were confirmed at once. */
  confirmed: number
}

export interface OverloadMeasured {
  name: string
  what: string
  /** By 64 connections that ask again once they are answered. */
  closedPerSecond: number
  /** The best of the open loop. */
  peak: number
  /** Goodput by times the peak that was offered, as a share of the peak. */
  beyond: Record<number, number>
  points: OverloadPoint[]
}

/** A second's worth. */
export interface OverloadPoint {
  offered: number
  /** Answered 2xx. */
  goodPerSecond: number
  refusedPerSecond: number
  /** No free connection, a broken one, or no answer. */
  failedPerSecond: number
  /** Of the good, from when they were due. */
  p99Ms: number
  /** The longest that /livez took; NaN of a server without it. */
  liveMs: number
}

export interface MemoryMeasured {
  name: string
  /** After each minute. */
  minutes: { residentMiB: number; anonymousMiB: number }[]
}

/** The manifests of a system. */
export interface GrowthMeasured {
  services: number
  objects: number
  seconds: number
}

export const hasResults = ({ node, notes, ...measured }: Results): boolean => Object.keys(measured).length > 0

export interface Goal {
  text: string
  value: string
  met: boolean
}

export const OURS = 'order service'
export const BARE = 'Koa, bare'

/** What the design asks, beside what was measured. */
export function asked(results: Results): Goal[] {
  return [
    ...ofProducts(results),
    ...ofOverload(results),
    ...ofCalls(results),
    ...ofProcess(results),
    ...ofGrowth(results),
    ...(results.collector ?? [])
      .slice(1)
      .map(({ name, p99Ratio }) => atMost(`p99 while the collector ${name}, to one that takes spans`, p99Ratio, 1.05, times)),
  ]
}

function ofProducts({ products = {}, openLoop, orders }: Results): Goal[] {
  const goals: Goal[] = []
  for (const [connections, goal] of [
    [1, 0.85],
    [16, 0.95],
    [64, 0.95],
  ] as const) {
    const ours = products[connections]?.find(({ name }) => name === OURS)
    if (ours) goals.push(atLeast(`GET beside bare Koa, ${connections} connections`, ours.ratio, goal, times))
  }
  const of = (wanted: string) => products[16]?.find(({ name }) => name === wanted)?.ratio
  for (const [name, goal] of [
    ['Fastify', 2.5],
    ['NestJS', 3],
    ['Koa', 2.2],
  ] as const) {
    const ratio = (of(OURS) ?? Number.NaN) / (of(name) ?? Number.NaN)
    if (!Number.isNaN(ratio)) goals.push(atLeast(`GET beside ${name} with the same telemetry`, ratio, goal, times))
  }
  const loop = openLoop?.rows.find(({ name }) => name === OURS)
  if (loop) goals.push(atMost("p99 beside bare Koa's at 70 % of its throughput", loop.ratio, 1.5, times))
  const own = orders?.rows.find(({ name }) => name === OURS)
  if (own) goals.push(atLeast(`orders beside ${orders?.with}`, own.ratio, 0.6, times))
  return goals
}

function ofOverload({ overload = [] }: Results): Goal[] {
  return overload
    .filter(({ name }) => name === OURS)
    .flatMap(({ what, beyond, points }) => [
      ...Object.entries(beyond).map(([over, share]) =>
        atLeast(`${what}: goodput at ${over} times the peak`, share, what.startsWith('GET') && over === '5' ? 0.7 : 0.9, percent),
      ),
      atMost(
        `${what}: p99 of what is answered beyond the peak`,
        Math.max(...points.slice(-2).map(({ p99Ms }) => p99Ms)),
        order.slo.latency.thresholdMs,
        ms,
      ),
      atMost(`${what}: /livez beyond the peak`, Math.max(...points.slice(-2).map(({ liveMs }) => liveMs)), 100, ms),
    ])
}

const ofCalls = ({ calls = [] }: Results): Goal[] =>
  calls
    .filter(({ name }) => !name.endsWith('bare'))
    .flatMap(({ name, addedMs, cpuRatio }) => [
      atMost(`${name}: what it adds to the bare call`, addedMs, 0.3, value => `${value.toFixed(2)} ms`),
      atMost(`${name}: processor time beside the bare call`, cpuRatio, 2, times),
    ])

function ofProcess({ ready = [], memory = [] }: Results): Goal[] {
  const own = ready.filter(({ name }) => name === OURS).map(({ readyMs }) => atMost('ready from spawn', readyMs, 250, ms))
  const last = memory.flatMap(({ name, minutes }) => {
    const { residentMiB, anonymousMiB } = minutes.at(-1) ?? { residentMiB: Number.NaN, anonymousMiB: Number.NaN }
    return [
      atMost(`${name}: resident after ${minutes.length} minutes`, residentMiB, 140, mib),
      atMost(`${name}: of it anonymous`, anonymousMiB, 90, mib),
    ]
  })
  return [...own, ...last]
}

function ofGrowth({ growth = [] }: Results): Goal[] {
  const [, few, , many] = growth.map(({ services, seconds }) => ({ services, each: seconds / services }))
  if (!few || !many) return []
  return [
    atMost(`synth of ${many.services} services, each`, many.each, 0.05, value => `${value.toFixed(3)} s`),
    atMost(`the same beside one of ${few.services}`, many.each / few.each, 1.5, times),
  ]
}

type Format = (value: number) => string
const atLeast = (text: string, value: number, goal: number, format: Format): Goal => ({
  text: `${text}: at least ${format(goal)}`,
  value: format(value),
  met: value >= goal,
})
const atMost = (text: string, value: number, goal: number, format: Format): Goal => ({
  text: `${text}: at most ${format(goal)}`,
  value: format(value),
  met: value <= goal,
})

export function print(results: Results): string {
  const { products = {}, notes } = results
  const parts = [
    ...Object.entries(products).map(([connections, rows]) => productTable(connections, rows)),
    ...openLoopTable(results),
    ...ordersTable(results),
    ...(results.overload ?? []).map(overloadTable),
    ...callsTable(results),
    ...collectorTable(results),
    ...stagesTable(results),
    ...processTables(results),
    ...growthTable(results),
  ]
  const goals = asked(results)
  const mark = (met: boolean) => (met ? styleText('green', 'met') : styleText('red', 'not met'))
  const rows = goals.map(({ text, value, met }) => [text, value, mark(met)])
  if (goals.length > 0) parts.push(table(['asked', 'measured', ''], rows))
  return `${[...parts, ...notes.map(note => `Note: ${note}`)].join('\n\n')}\n`
}

const growthTable = ({ growth }: Results): string[] =>
  growth
    ? [
        table(
          ['synth, services', 'objects', 'seconds', 'each'],
          growth.map(({ services, objects, seconds }) => [
            String(services),
            String(objects),
            seconds.toFixed(2),
            `${((seconds / services) * 1_000).toFixed(1)} ms`,
          ]),
        ),
      ]
    : []

function productTable(connections: string, rows: readonly Measured[]): string {
  const head = [
    `GET /products/{sku}, ${connections} connections`,
    'CPU a request',
    'spread',
    'requests/s',
    'to bare Koa',
    'p50',
    'p99',
    'spans',
    'core used',
  ]
  return table(
    head,
    rows.map(row => [
      row.name,
      micros(row.cpuMicros),
      row.cpuSpread.map(value => value.toFixed(0)).join('-'),
      row.perSecond.toFixed(0),
      times(row.ratio),
      ms(row.p50Ms),
      ms(row.p99Ms),
      row.spans.toFixed(1),
      percent(row.busy),
    ]),
  )
}

const openLoopTable = ({ openLoop }: Results): string[] =>
  openLoop
    ? [
        table(
          [`GET /products/{sku}, ${openLoop.arrivalsPerSecond} a second when they are due`, 'p99', 'to bare Koa'],
          openLoop.rows.map(({ name, p99Ms, ratio }) => [name, ms(p99Ms), times(ratio)]),
        ),
      ]
    : []

function ordersTable({ orders }: Results): string[] {
  if (!orders) return []
  const rows = orders.rows.map(row => [row.name, row.perSecond.toFixed(0), ms(row.p50Ms), ms(row.p99Ms), times(row.ratio), percent(row.confirmed)])
  const head = ['POST /orders', 'orders/s', 'p50', 'p99', 'ratio', 'confirmed at once']
  const { statementsPerSecond, inTransactionsPerSecond } = orders
  const alone = [
    [orders.with, statementsPerSecond.toFixed(0), '', '', times(1), ''],
    ['the same by transactions', inTransactionsPerSecond.toFixed(0), '', '', times(inTransactionsPerSecond / statementsPerSecond), ''],
  ]
  return [table(head, [...alone, ...rows])]
}

function overloadTable({ name, what, peak, points }: OverloadMeasured): string {
  const rows = points.map(({ offered, goodPerSecond, refusedPerSecond, failedPerSecond, p99Ms, liveMs }) => [
    offered.toFixed(0),
    (offered / peak).toFixed(2),
    goodPerSecond.toFixed(0),
    percent(goodPerSecond / peak),
    refusedPerSecond.toFixed(0),
    failedPerSecond.toFixed(0),
    ms(p99Ms),
    Number.isNaN(liveMs) ? '-' : ms(liveMs),
  ])
  return table([`${what}, ${name}: offered/s`, 'of peak', 'goodput', 'of peak', 'refused', 'failed', 'p99', '/livez'], rows)
}

function callsTable({ calls }: Results): string[] {
  if (!calls) return []
  const row = ({ name, p50Ms, addedMs, callerMicros, calleeMicros, cpuRatio }: HopMeasured) => [
    name,
    `${p50Ms.toFixed(2)} ms`,
    name.endsWith('bare') ? '' : `${addedMs.toFixed(2)} ms`,
    micros(callerMicros),
    micros(calleeMicros),
    name.endsWith('bare') ? '' : cpuRatio.toFixed(2),
  ]
  return [table(['a call', 'p50', 'added', 'CPU caller', 'CPU callee', 'to bare'], calls.map(row))]
}

function collectorTable({ collector }: Results): string[] {
  if (!collector) return []
  const row = (at: (typeof collector)[number]) => [
    at.name,
    percent(at.ratio),
    ms(at.p99Ms),
    at.p99Ratio.toFixed(2),
    micros(at.cpuMicros),
    mib(at.residentMiB),
  ]
  return [table(['the collector', 'throughput', 'p99', 'ratio of p99', 'CPU a request', 'memory'], collector.map(row))]
}

function stagesTable({ stages }: Results): string[] {
  if (!stages) return []
  const [all, ...others] = stages as [Measured, ...Measured[]]
  const rows = others.map(row => [row.name, `+${((row.ratio - 1) * 100).toFixed(1)} %`.replace('+-', '-'), micros(all.cpuMicros - row.cpuMicros)])
  return [table(['without the stage', 'throughput', 'CPU saved a request'], rows), `all stages: ${micros(all.cpuMicros)} a request`]
}

function processTables({ ready, memory }: Results): string[] {
  const tables: string[] = []
  if (ready)
    tables.push(
      table(
        ['ready from spawn', ''],
        ready.map(({ name, readyMs }) => [name, ms(readyMs)]),
      ),
    )
  if (memory)
    tables.push(
      table(
        ['memory after', ...(memory[0]?.minutes ?? []).map((_, i) => `${i + 1} min`)],
        memory.flatMap(({ name, minutes }) => [
          [`${name}, resident`, ...minutes.map(({ residentMiB }) => mib(residentMiB))],
          [`${name}, anonymous`, ...minutes.map(({ anonymousMiB }) => mib(anonymousMiB))],
        ]),
      ),
    )
  return tables
}

const ms = (value: number) => `${value.toFixed(1)} ms`
const mib = (value: number) => `${value.toFixed(0)} MiB`
const times = (value: number) => value.toFixed(2)
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
