import { spawn } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { dashboardsOf, toJson } from '../../infra/kit/dashboards/dashboards.ts'
import { loadSettings } from '../../infra/kit/settings/settings.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { LOCAL_ISSUER, LOCAL_NAMESPACE, openLocalIssuer } from '../../scripts/local/credentials.ts'
import { createClient } from '../../services/chassis/client/client.ts'
import { booking, hello, images, project, stock, system } from '../support/acme.ts'
import { testDatabase } from '../support/database.ts'
import { testRuntime } from '../support/runtime.ts'

const settings = loadSettings({}, system)

/** Labels of each metric that a service exposes, by its name as a query has it. */
type Exposed = Map<string, Set<string>>

/** One call of an operation of stock by gRPC. */
async function callStock(port: number): Promise<void> {
  const caller = testRuntime('booking')
  const client = createClient(booking, 'stock', { ...caller, host: `127.0.0.1:${port}` })
  try {
    expect((await client.call(caller.scope(), 'listItems', {})).status).toBe(200)
  } finally {
    await client.close()
  }
}

/** What a service that runs as a process of its own exposes, after one request, and after one by gRPC where it has that. */
async function exposedBy(name: string, path: string, env: Record<string, string> = {}): Promise<Exposed> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(project.root, 'services', name, 'main.ts')], {
    env: { HOST: '127.0.0.1', PORT: '0', ADMIN_PORT: '0', LINGER_MS: '0', NAMESPACE: LOCAL_NAMESPACE, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const lines: Record<string, unknown>[] = []
    createInterface(child.stdout).on('line', line => lines.push(JSON.parse(line)))
    const { port, adminPort, grpcPort } = await vi.waitUntil(() => lines.find(({ msg }) => msg === 'listening'), { timeout: 20_000, interval: 20 })
    await fetch(`http://127.0.0.1:${port}${path}`)
    if (grpcPort) await callStock(Number(grpcPort))
    const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text()
    const exposed: Exposed = new Map()
    for (const [, metric = '', labels = ''] of text.matchAll(/^([a-z_:]\w*)(?:\{(.*)\})? \S+$/gim)) {
      const known = exposed.get(metric) ?? new Set()
      for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label)
      exposed.set(metric, known)
    }
    // Of a metric without a series yet only the type is known: its labels are not.
    for (const [, metric = '', type] of text.matchAll(/^# TYPE (\w+) (\w+)$/gm))
      for (const suffix of type === 'histogram' ? ['_bucket', '_count', '_sum'] : [''])
        if (!exposed.has(metric + suffix)) exposed.set(metric + suffix, new Set(['*']))
    return exposed
  } finally {
    child.kill('SIGKILL')
  }
}

const exposed = new Map<string, Exposed>()
beforeAll(async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-metrics-'))
  const issuer = await openLocalIssuer(join(dir, 'issuer'))
  const databases = await Promise.all(['stock', 'booking'].map(name => testDatabase(name)))
  const urls = await Promise.all(
    databases.map(async ({ url }, n) => {
      await writeFile(join(dir, `url-${n}`), url)
      return join(dir, `url-${n}`)
    }),
  )
  const workloads = { WORKLOAD_ISSUER: LOCAL_ISSUER, WORKLOAD_JWKS: issuer.jwksFile, WORKLOAD_CALLERS: 'booking' }
  const users = { AUTH_ISSUER: 'https://id.acme.example', AUTH_AUDIENCE: 'acme', AUTH_JWKS_URI: pathToFileURL(issuer.jwksFile).href }
  const [token = ''] = await Promise.all([issuer.writeToken('booking', 'stock')])
  exposed.set('hello', await exposedBy('hello', '/greetings', workloads))
  exposed.set('stock', await exposedBy('stock', '/items', { ...workloads, DATABASE_URL_FILE: urls[0] as string, SEALS_DIR: dir, GRPC_PORT: '0' }))
  exposed.set(
    'booking',
    await exposedBy('booking', '/bookings', {
      ...users,
      DATABASE_URL_FILE: urls[1] as string,
      STOCK_IDENTITY_FILE: token,
      HELLO_IDENTITY_FILE: token,
    }),
  )
  return async () => {
    for (const { close } of databases) await close()
    await rm(dir, { recursive: true, force: true })
  }
}, 60_000)

/** What Prometheus itself adds, or who scrapes a pod beside the service. */
const OF_TARGETS = ['namespace', 'job', 'pod', 'instance', 'endpoint', 'le']
const OF_OTHERS = /^(up|ALERTS|service:\w+:\w+|otelcol_\w+|traefik_\w+)$/

/** Metrics of an expression with the labels that it asks for. */
const selectorsOf = (expr: string) =>
  [...expr.matchAll(/([a-zA-Z_:][\w:]*)?\{([^}]*)\}/g)].flatMap(([, metric, matchers = '']) => {
    const metrics = metric ?? /__name__=~"([^"]*)"/.exec(matchers)?.[1] ?? ''
    const labels = [...matchers.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label = '']) => label).filter(label => label !== '__name__')
    return metrics.split('|').map(metric => ({ metric, labels }))
  })

/** What an expression asks for that a service does not expose: a metric, a label that it selects or groups by. */
function missing(service: string, expr: string): string[] {
  const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels = '']) => labels.split(', '))
  return selectorsOf(expr).flatMap(({ metric, labels }) => {
    if (OF_OTHERS.test(metric)) return []
    const known = exposed.get(service)?.get(metric)
    if (!known) return [metric]
    return [...labels, ...grouped]
      .filter(label => !known.has('*') && !known.has(label) && !OF_TARGETS.includes(label))
      .map(label => `${metric}{${label}}`)
  })
}

test('what a runbook asks Prometheus of a service is something that one exposes', () => {
  const asked = globSync('infra/kit/runbooks/*.md').flatMap(file =>
    [...readFileSync(file, 'utf8').matchAll(/`([^`]*\{job="(SERVICE|CALLER)"[^`]*)`/g)].map(([, expr = '', who]) => ({ file, expr, who })),
  )
  expect(asked.length).toBeGreaterThan(5)
  for (const { file, expr, who } of asked) expect(missing(who === 'SERVICE' ? 'stock' : 'booking', expr), file).toEqual([])
})

describe.each([hello, stock, booking].map(({ name }) => [name]))('what is asked of %s', name => {
  test('by the panels of its dashboard is something that it exposes', () => {
    const dashboard = new Map([...dashboardsOf({ ...project, settings })]).get(name)
    const { panels }: { panels: { title: string; targets?: { expr: string }[] }[] } = JSON.parse(toJson(dashboard as never))
    const asked = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    expect(asked.length).toBeGreaterThan(10)
    // After one request there is a series of it, whose labels are known.
    expect([...(exposed.get(name)?.get('http_server_request_duration_seconds_count') ?? [])]).toContain('http_route')
    if (name === 'stock') expect([...(exposed.get(name)?.get('rpc_server_call_duration_seconds_count') ?? [])]).toContain('rpc_method')
    expect(asked.flatMap(expr => missing(name, expr))).toEqual([])
  })

  test('by its alerts is something that it exposes, or that a rule records', () => {
    const { own } = synthesize({ ...project, settings, images })
    const { spec } = own.find(({ kind, metadata }) => kind === 'PrometheusRule' && metadata.name === name) as never as {
      spec: { groups: { rules: { expr: string; record?: string }[] }[] }
    }
    const rules = spec.groups.flatMap(({ rules }) => rules)
    const recorded = rules.flatMap(({ record }) => record ?? [])
    expect(rules.length).toBeGreaterThan(10)
    expect(rules.flatMap(({ expr }) => missing(name, expr))).toEqual([])
    for (const { metric } of rules.flatMap(({ expr }) => selectorsOf(expr))) if (metric.startsWith('service:')) expect(recorded).toContain(metric)
  })
})
