import type { ServiceDefinition } from '../contract/graph.ts'

/**
 * The types say as much, but Node.js strips them unread.
 * @throws Error naming operations without a handler, or handlers without an operation
 */
export function refuseHandlers(
  { name, contract }: Pick<ServiceDefinition, 'name' | 'contract'>,
  handlers: Readonly<Record<string, unknown>> = {},
): void {
  const missing = Object.keys(contract).filter(operation => typeof handlers[operation] !== 'function')
  const extra = Object.keys(handlers).filter(handler => !Object.hasOwn(contract, handler))
  const where = `the handlers in services/${name}/start.ts`
  if (missing.length > 0) throw new Error(`${name} has no handler for ${missing.join(', ')}: add ${them(missing)} to ${where}`)
  if (extra.length > 0)
    throw new Error(`${name} has no operation ${extra.join(', ')}: remove ${them(extra)} from ${where}, or add ${them(extra)} to its contract`)
}

const them = (names: readonly string[]) => (names.length === 1 ? 'it' : 'them')
