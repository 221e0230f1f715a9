/** A value as a POSIX shell takes it. */
const quoted = (value: string): string => (/^[\w./:@,=-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`)

/** Our commands that are about one cluster. */
const OURS = /((?:\w+=\S+ )*)\bnpm run (deploy|secrets|status|logs)\b(?: -- (?!--context)(\w+))?(?: -- --context [^\s,;]+)?/g

/**
 * Makes commands in a text ones for a cluster, to be pasted as they are: with its context, and with the settings that somebody chose.
 * Without these `npm run deploy` would bring another system than the one that was looked at.
 */
export function addressTo(context: string, chosen: Record<string, string>): (text: string) => string {
  const variables = Object.entries(chosen)
    .map(([name, value]) => `${name}=${quoted(value)} `)
    .join('')
  return text =>
    text
      .replace(/\bkubectl (?!--context)/g, `kubectl --context ${context} `)
      .replace(
        OURS,
        (_, own: string, command: string, word?: string) => `${variables}${own}npm run ${command} -- ${word ? `${word} ` : ''}--context ${context}`,
      )
}
