import { type Format, formats } from '../settings/formats.ts'

export type Schema = Record<string, unknown>
/** One value of the chart, or a group of them. */
export interface Value {
  description: string
  schema: Schema
  /** undefined: whoever installs the chart has to say it. */
  default: unknown
}
export type Values = { [name: string]: Value | Values }

export const value = (fallback: unknown, schema: Schema, description: string): Value => ({ default: fallback, schema, description })

export const schemaFor = ({ pattern, maxLength }: Format) => ({ type: 'string', pattern, maxLength })
export const NAME = schemaFor(formats.objectName)

/** Where a value is found in a template. */
export const at = (...path: string[]): string =>
  path.every(name => /^\w+$/.test(name)) ? `.Values.${path.join('.')}` : `(index .Values ${path.map(name => `"${name}"`).join(' ')})`

const isValue = (node: Value | Values): node is Value => 'schema' in node && 'default' in node

/** The defaults alone, as values.yaml has them. */
export const defaultsOf = (values: Values): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).map(([name, node]) => [name, isValue(node) ? node.default : defaultsOf(node)]))

/** JSON Schema draft 7, which Helm checks every install, upgrade, lint and template against. */
export const schemaOf = (values: Values): Schema => ({
  type: 'object',
  additionalProperties: false,
  required: Object.keys(values),
  properties: Object.fromEntries(
    Object.entries(values).map(([name, node]) => [name, isValue(node) ? { description: node.description, ...node.schema } : schemaOf(node)]),
  ),
})

/** Comments of values.yaml by path. */
export const descriptionsOf = (values: Values, path: string[] = []): [path: string[], description: string][] =>
  Object.entries(values).flatMap(([name, node]): [string[], string][] =>
    isValue(node) ? [[[...path, name], node.description]] : descriptionsOf(node, [...path, name]),
  )
