import { z } from 'zod'

/** What a contract's schemas are as JSON Schema, with every reference followed: one that holds itself is an object that does. */
export interface JsonSchema {
  type?: string | string[]
  format?: string
  title?: string
  description?: string
  const?: unknown
  enum?: unknown[]
  items?: JsonSchema | false
  prefixItems?: JsonSchema[]
  anyOf?: JsonSchema[]
  oneOf?: JsonSchema[]
  allOf?: JsonSchema[]
  properties?: Record<string, JsonSchema>
  additionalProperties?: boolean | JsonSchema
  required?: string[]
}

type Node = Record<string, unknown>

export function schemaOf(schema: z.ZodType): JsonSchema {
  const root = z.toJSONSchema(schema, { io: 'input', reused: 'inline', unrepresentable: 'any' }) as Node
  const definitions = (root.$defs ?? {}) as Record<string, Node>
  const target = ({ $ref }: Node): Node | undefined =>
    $ref === '#' ? root : typeof $ref === 'string' ? definitions[$ref.replace('#/$defs/', '')] : undefined
  const seen = new Set<Node>()
  const follow = (node: Node): void => {
    if (seen.has(node)) return
    seen.add(node)
    for (const [key, value] of Object.entries(node)) {
      if (typeof value !== 'object' || value === null) continue
      const found = target(value as Node)
      if (found) node[key] = found
      follow(found ?? (value as Node))
    }
  }
  follow(root)
  return target(root) ?? root
}
