import { DEFAULT_POOL_SIZE, DEFAULT_RESOURCES, MAX_ARRIVING_BODIES, MAX_BODY_BYTES, type ServiceDefinition } from '@fairlead/chassis'
import { memoryLimitMiB, OLD_SPACE_PERCENT, SEMI_SPACE_MIB } from '../objects/memory.ts'
import type { GraphCheck } from './refused.ts'

const MIB = 2 ** 20
const HEAP_SHARE = OLD_SPACE_PERCENT / 100
/** Node.js with a service's code and telemetry, beside V8's heap and without the pages of its program, which the kernel can take back. Measured. */
const NODE_MIB = 56
/** V8 takes a third one for large objects. */
const SEMI_SPACES = 3
/** A connection to Postgres with its statements. */
const CONNECTION_MIB = 0.25
/** More than a gigabit brings within the 0.8 s that a body may take. */
const ARRIVING_MIB = 100
/** What comes with a head before anybody wants its body: what a stream of Node.js keeps, and one more read. */
const UNREAD_MIB = 0.125
/** What is alive in a service that does nothing. */
const IDLE_HEAP_MIB = 24
/** JSON takes up to this much more once it is parsed: measured for objects; a list of pairs of numbers takes 4.9 times as much. */
const PARSED = 1.5

/** A pod that is ended for its memory drops all that it has under way, and the load that filled it goes to its neighbours. */
export const memory: GraphCheck = ({ system }) =>
  system.services.flatMap(service => {
    const least = leastMiB(service)
    if (memoryLimitMiB(service) >= least) return []
    const { name, resources = DEFAULT_RESOURCES } = service
    return [
      `${name}: resources.limits.memory ${resources.limits.memory} cannot hold Node.js, V8's heap (${OLD_SPACE_PERCENT} % of it) and as many bodies as maxConcurrency ` +
        `lets in: at least ${least}Mi, or a lower maxConcurrency or maxBodyBytes (services/${name}/service.ts); what the service itself keeps comes on top`,
    ]
  })

/** So that neither the heap ends the process nor the kernel, with all of its requests at work and their bodies as long as they may be. */
function leastMiB(service: ServiceDefinition): number {
  const { database, grpc, maxConcurrency } = service
  const longest = longestBodyMiB(service)
  const working = maxConcurrency * longest
  const arriving = Math.min((grpc ? 2 : 1) * MAX_ARRIVING_BODIES * longest, ARRIVING_MIB)
  const pool = database ? DEFAULT_POOL_SIZE * CONNECTION_MIB : 0
  // The gate lets as many wait with a body; by gRPC nothing waits there.
  const waiting = MAX_ARRIVING_BODIES * Math.min(longest, UNREAD_MIB)
  const outside = NODE_MIB + SEMI_SPACES * SEMI_SPACE_MIB + pool + arriving + waiting + working
  const heap = IDLE_HEAP_MIB + PARSED * working
  return Math.ceil(Math.max(outside / (1 - HEAP_SHARE), heap / HEAP_SHARE))
}

/** By gRPC each operation has a message. */
const longestBodyMiB = ({ contract, grpc }: ServiceDefinition): number =>
  Math.max(
    0,
    ...Object.values(contract).map(({ body, httpOnly, maxBodyBytes = MAX_BODY_BYTES }) => (body || (grpc && !httpOnly) ? maxBodyBytes : 0)),
  ) / MIB
