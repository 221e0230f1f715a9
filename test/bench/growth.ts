import { fileURLToPath } from 'node:url'
import { defineContract, defineService, defineSystem, type ServiceDefinition, type SystemDefinition } from '@fairlead/chassis'
import { loadSettings, synthesize } from '@fairlead/infra'
import type { Bench } from './bench.ts'
import type { GrowthMeasured } from './report.ts'
import { median } from './statistics.ts'

/** Services of a system. */
const SIZES = [2, 12, 50, 200]
const MOST_ROUNDS = 3

const contract = defineContract({
  take: { method: 'PUT', path: '/taken', summary: 'Take', auth: 'workload', responses: { 204: { description: 'Taken' } } },
})

/** Each with a database and an edge to the one before it. */
function systemOf(count: number): SystemDefinition {
  const services: ServiceDefinition[] = []
  for (let n = 1; n <= count; n++) {
    const before = services.at(-1)
    services.push(
      defineService({
        name: `service-${n}`,
        port: 10_000 + n,
        timeoutMs: 2_000,
        maxConcurrency: 256,
        slo: { availability: 0.999, latency: { thresholdMs: 500, objective: 0.99 } },
        scale: { min: 2, max: 6 },
        database: true,
        contract,
        ...(before && { calls: [{ to: before, mode: 'optional', attemptTimeoutMs: 300 }] }),
      }),
    )
  }
  return defineSystem({ name: 'acme', services })
}

/** How long the manifests of larger and larger systems take. */
export async function measureGrowth({ options, results, signal }: Bench): Promise<void> {
  const rows: GrowthMeasured[] = []
  results.growth = rows
  const root = fileURLToPath(new URL('../../', import.meta.url))
  for (const count of SIZES) {
    const system = systemOf(count)
    const settings = loadSettings({}, system)
    const images = Object.fromEntries(system.services.map(({ name }) => [name, `acme/${name}:1`]))
    const seconds: number[] = []
    let objects = 0
    // The first one compiles.
    for (let n = 0; n <= Math.min(options.rounds, MOST_ROUNDS); n++) {
      signal.throwIfAborted()
      const startedAt = performance.now()
      objects = Object.values(synthesize({ system, root, version: '1.0.0', license: 'MIT', settings, images })).flat().length
      if (n > 0) seconds.push((performance.now() - startedAt) / 1_000)
    }
    rows.push({ services: count, objects, seconds: median(seconds) })
  }
}
