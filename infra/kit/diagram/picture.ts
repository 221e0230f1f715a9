import { DEFAULT_MAX_ATTEMPTS, databaseOf, type Edge, keysCalleeOf, portOf, type ServiceDefinition, type SystemDefinition } from '@fairlead/chassis'
import { percent } from '../alerts/slo-alerts.ts'
import { entryServices } from '../constructs/ingress.ts'

export interface Arrow {
  /** Name of the caller; none when it is the ingress. */
  from?: string
  to: string
  mode: Edge['mode']
  /** What it says: the callee's port, with the protocol unless that is HTTP, and whether the caller needs it, then attempts and the longest time of one. */
  label: readonly string[]
}

export interface Service {
  name: string
  port: number
  objectives: readonly string[]
  database: string | undefined
}

/** What every diagram of a system says, in its words. */
export interface Picture {
  title: string
  services: readonly Service[]
  arrows: readonly Arrow[]
}

const objectives = ({ slo: { availability, latency } }: ServiceDefinition): string[] => [
  `${percent(availability)} answered`,
  `${percent(latency.objective)} < ${latency.thresholdMs} ms`,
]

const arrow = (from: string, { to, mode, attemptTimeoutMs, maxAttempts = DEFAULT_MAX_ATTEMPTS, protocol }: Edge): Arrow => ({
  from,
  to: to.name,
  mode,
  label: [`${portOf({ to, protocol })}${protocol === 'grpc' ? ' gRPC' : ''} · ${mode}`, `${maxAttempts} × ${attemptTimeoutMs} ms`],
})

/** The edge that nobody writes: to the keys of users' tokens. */
function keysArrow(system: SystemDefinition, service: ServiceDefinition): Arrow[] {
  const issuer = keysCalleeOf(system, service)
  if (!issuer || service.calls.some(({ to }) => to === issuer)) return []
  return [{ from: service.name, to: issuer.name, mode: 'optional', label: [`${issuer.port} · keys`] }]
}

/** The services, the edges between them, and those of the ingress to what everybody may reach. */
export function pictureOf(system: SystemDefinition): Picture {
  const entries = entryServices({ system }).map(({ name, port }): Arrow => ({ to: name, mode: 'required', label: [String(port)] }))
  return {
    title: `The services of ${system.name} and their calls`,
    services: system.services.map(service => ({
      name: service.name,
      port: service.port,
      objectives: objectives(service),
      database: databaseOf(service),
    })),
    arrows: [
      ...entries,
      ...system.services.flatMap(service => [...service.calls.map(edge => arrow(service.name, edge)), ...keysArrow(system, service)]),
    ],
  }
}
