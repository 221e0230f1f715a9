import type { SystemDefinition } from '@fairlead/chassis'
import { pictureOf } from './picture.ts'

/** https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters */
const ENTITIES: Record<string, string> = { '"': '#quot;', '&': '#amp;', '<': '#lt;', '>': '#gt;', '#': '#35;' }

const quote = (lines: readonly string[]): string =>
  `"${lines.map(line => line.replace(/["&<>#]/g, character => ENTITIES[character] ?? '')).join('<br/>')}"`

/** An id that is no word of Mermaid's, for a service may be called `end` or `graph`; names are DNS labels, so no two ids are the same. */
const idOf = (kind: string, name: string): string => `${kind}_${name.replaceAll(/[^a-z0-9]/gi, '_')}`

/** The system as a Mermaid flowchart. */
export function diagramMermaid(system: SystemDefinition): string {
  const { title, services, arrows } = pictureOf(system)
  const ingress = 'ingress'
  const boxes = services.flatMap(({ name, port, objectives, database }) => {
    const box = `${idOf('service', name)}[${quote([`${name} :${port}`, ...objectives])}]`
    return database ? [box, `${idOf('service', name)} --- ${idOf('database', name)}[(${quote([database])})]`] : [box]
  })
  const lines = [
    '%% Written by npx fairlead diagram.',
    'flowchart LR',
    `accTitle: ${title}`,
    ...(arrows.some(({ from }) => !from) ? [`${ingress}([${quote(['ingress'])}])`] : []),
    ...boxes,
    ...arrows.map(({ from, to, mode, label }) => {
      const line = mode === 'optional' ? '-.->' : '-->'
      return `${from ? idOf('service', from) : ingress} ${line}|${quote(label)}| ${idOf('service', to)}`
    }),
  ]
  return `${lines.map((line, i) => (i < 2 ? line : `  ${line}`)).join('\n')}\n`
}
