import { readdir } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

const ROOT = 'services/chassis'

/** From the lowest up; whatever is on a floor imports from its own and those below. */
const FLOORS = ['contract', 'grpc', 'telemetry', 'identity', 'data', 'client', 'server', 'run', 'local', 'testing']

/** Packages that a floor may load beside those of the floors below it. */
const PACKAGES: Record<string, string[]> = {
  contract: ['zod', 'uuid'],
  grpc: ['@bufbuild/protobuf'],
  telemetry: [
    '@opentelemetry/api',
    '@opentelemetry/exporter-trace-otlp-http',
    '@opentelemetry/resources',
    '@opentelemetry/sdk-trace',
    'pino',
    'prom-client',
  ],
  identity: ['jose', 'undici'],
  data: ['pg', 'node-pg-migrate', 'canonicalize'],
  client: ['cockatiel', 'dns-packet', 'undici'],
  server: ['koa', 'find-my-way', 'ipaddr.js'],
  run: [],
  local: [],
  testing: [],
}

const floorOf = (path: string) => relative(ROOT, dirname(path)).split('/')[0] as string
const packageOf = (specifier: string) => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')

interface Import {
  from: string
  to: string
}

/** What is loaded when each file of the chassis is: imports of types alone are none. */
async function importsOf(): Promise<{ files: Import[]; packages: Import[] }> {
  const entryPoints = (await readdir(ROOT, { recursive: true })).filter(path => path.endsWith('.ts')).map(path => join(ROOT, path))
  const { metafile } = await build({
    entryPoints,
    bundle: true,
    write: false,
    outdir: 'out',
    metafile: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
  })
  const all = Object.entries(metafile.inputs).flatMap(([from, { imports }]) => imports.map(({ path, external }) => ({ from, to: path, external })))
  return { files: all.filter(({ external }) => !external), packages: all.filter(({ external, to }) => external && !to.startsWith('node:')) }
}

test('imports lead from a floor of the chassis to itself and to those below', async () => {
  const { files } = await importsOf()
  expect(files.length).toBeGreaterThan(50)
  const up = files.filter(({ from, to }) => FLOORS.indexOf(floorOf(to)) > FLOORS.indexOf(floorOf(from)))
  expect(up.map(({ from, to }) => `${relative(ROOT, from)} -> ${relative(ROOT, to)}`).sort()).toEqual(KNOWN.files)
})

test('every floor loads its own packages and those of the floors below, and no other', async () => {
  const { packages } = await importsOf()
  const allowed = (floor: string) => FLOORS.slice(0, FLOORS.indexOf(floor) + 1).flatMap(name => PACKAGES[name] ?? [])
  const foreign = packages.filter(({ from, to }) => !allowed(floorOf(from)).includes(packageOf(to)))
  expect(foreign.map(({ from, to }) => `${relative(ROOT, from)} -> ${to}`).sort()).toEqual(KNOWN.packages)
})

/** What is still wrong. This list only shrinks. */
const KNOWN: Record<'files' | 'packages', string[]> = {
  files: [],
  packages: [],
}
