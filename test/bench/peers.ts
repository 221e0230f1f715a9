import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { output } from './processes.ts'
import { BARE } from './report.ts'

/** What every server is asked for. */
export const PRODUCT = '/products/iphone-17'

const path = (name: string) => fileURLToPath(new URL(`./peers/${name}`, import.meta.url))

const TELEMETRY = ['--import', path('telemetry.mjs')]

interface Peer {
  name: string
  args: string[]
}

/** Servers to compare with, as arguments of node. */
export const PEERS: readonly [Peer, ...Peer[]] = [
  { name: BARE, args: [path('koa-bare.mjs')] },
  { name: 'Koa', args: [...TELEMETRY, path('koa.mjs')] },
  { name: 'Fastify', args: [...TELEMETRY, path('fastify.mjs')] },
  { name: 'NestJS', args: [...TELEMETRY, path('nestjs.mjs')] },
]

/** Servers to compare with under more load than they can bear; Fastify refuses what is too much. */
export const OVERLOAD_PEERS = [
  { name: BARE, args: [path('koa-bare.mjs')] },
  { name: 'Fastify, under-pressure', args: [...TELEMETRY, path('fastify.mjs'), 'under-pressure'] },
  { name: 'NestJS', args: [...TELEMETRY, path('nestjs.mjs')] },
]

/** Installs what the peers' lockfile names, unless just that is installed. */
export async function installPeers(signal: AbortSignal, say: (text: string) => void): Promise<void> {
  const versions = (file: string) => {
    const { packages = {} } = existsSync(path(file))
      ? (JSON.parse(readFileSync(path(file), 'utf8')) as { packages?: Record<string, { version?: string }> })
      : {}
    return new Map(Object.entries(packages).map(([name, { version }]) => [name, version]))
  }
  const present = versions('node_modules/.package-lock.json')
  if ([...versions('package-lock.json')].every(([name, version]) => name === '' || present.get(name) === version)) return
  say('installing Koa, Fastify and NestJS with OpenTelemetry into test/bench/peers (once)')
  await output('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', path('')], { signal })
}
