import { DEFAULT_RESOURCES, type ServiceDefinition } from '@fairlead/chassis'
import { parseQuantity } from './quantity.ts'

/**
 * One of the two halves that new objects move between. In a container of less than half a gigabyte Node.js takes 1 MiB, and collects all the
 * time; on a machine it takes 16 and more, and all of it stays resident. See docs/decisions/2026-11-27-memory-of-a-pod.md.
 */
export const SEMI_SPACE_MIB = 8
/** The old generation's share of the memory limit. The rest is Node.js itself, the young generation, buffers, and what a service has outside of V8. */
export const OLD_SPACE_PERCENT = 40

export const memoryLimitMiB = ({ resources = DEFAULT_RESOURCES }: Pick<ServiceDefinition, 'resources'>): number =>
  parseQuantity(resources.limits.memory) / 2 ** 20

/** Of the old generation, in MiB. */
export const oldSpaceMiB = (service: Pick<ServiceDefinition, 'resources'>): number => Math.floor((memoryLimitMiB(service) * OLD_SPACE_PERCENT) / 100)

/**
 * What the image has as environment (../image/Dockerfile), for a process of this machine: the size of V8's heap, and two arenas of malloc instead
 * of eight a core. Here no container has a limit that the old generation could be a share of.
 */
export const memoryVariables = (service: Pick<ServiceDefinition, 'resources'>): Record<string, string> => ({
  NODE_OPTIONS: `--max-semi-space-size=${SEMI_SPACE_MIB} --max-old-space-size=${oldSpaceMiB(service)}`,
  MALLOC_ARENA_MAX: '2',
})
