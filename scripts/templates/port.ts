import { ADMIN_PORT, localAdminPort, portsOf, type ServiceDefinition } from '@fairlead/chassis'

const FIRST = 8_080

/** The first port that no service listens at, on a laptop either, where each has its admin port beside those of all others. */
export function freePortBeside(services: readonly Pick<ServiceDefinition, 'port' | 'grpc'>[]): number {
  const taken = new Set([ADMIN_PORT, ...services.flatMap(service => [...portsOf(service), localAdminPort(service.port)])])
  let port = FIRST
  while (taken.has(port) || taken.has(localAdminPort(port))) port++
  return port
}
