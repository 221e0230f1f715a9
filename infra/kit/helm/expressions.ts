/**
 * Template expressions stand in the objects as marked strings, and become Helm's braces when the YAML is written. So the chart is made
 * by the same constructs as everything else, and only says where a value of its own stands.
 */
const OPEN = '⟦'
const CLOSE = '⟧'

/** A string value, or a part of one. */
export const text = (expression: string): string => `${OPEN}${expression}${CLOSE}`
/** A number or boolean. */
export const bare = (expression: string): never => `${OPEN}bare ${expression}${CLOSE}` as never
/** A list or map. */
export const block = (expression: string): never => `${OPEN}block ${expression}${CLOSE}` as never
/** As a key: the entries of a map, beside those that are there. */
export const entries = (expression: string): Record<string, string> => ({ [`${OPEN}entries ${expression}${CLOSE}`]: '' })
/** As an item of a list: an environment variable that is there when its value is not empty. */
export const whenSet = (name: string, expression: string): string => `${OPEN}variable ${name} ${expression}${CLOSE}`

const marked = (kind: string) => `["']?${OPEN}${kind} ([^${CLOSE}]*)${CLOSE}["']?`

/** Objects' YAML with its marks as a Helm template. */
export function toTemplate(yaml: string): string {
  return yaml
    .split('\n')
    .map(line => {
      const indent = /^ *(?:- )?/.exec(line)?.[0].length ?? 0
      return (
        line
          // What Prometheus fills in is not for Helm.
          .replace(/\{\{.*?\}\}/g, literal => `{{ \`${literal}\` }}`)
          .replace(
            new RegExp(`^.*${marked('entries')}: ""$`),
            (_, expression) => `{{- with ${expression} }}{{ toYaml . | nindent ${indent} }}{{- end }}`,
          )
          .replace(
            new RegExp(`^( *)- ["']?${OPEN}variable (\\S+) ([^${CLOSE}]*)${CLOSE}["']?$`),
            (_, before, name, expression) =>
              `${before}{{- with ${expression} }}\n${before}- name: ${name}\n${before}  value: {{ . | quote }}\n${before}{{- end }}`,
          )
          .replace(new RegExp(`: ${marked('block')}$`), (_, expression) => `: {{- toYaml ${expression} | nindent ${indent + 2} }}`)
          .replace(new RegExp(marked('bare')), (_, expression) => `{{ ${expression} }}`)
          .replace(new RegExp(`(: |- )["']?${OPEN}([^${CLOSE}]*)${CLOSE}["']?$`), (_, before, expression) => `${before}{{ ${expression} | quote }}`)
          .replace(new RegExp(`${OPEN}([^${CLOSE}]*)${CLOSE}`, 'g'), (_, expression) => `{{ ${expression} }}`)
      )
    })
    .join('\n')
}
