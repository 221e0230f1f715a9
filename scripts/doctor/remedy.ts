/** A value as a POSIX shell takes it. */
const quoted = (value: string): string => (/^[\w./:@,=-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`)

/** Our commands that are about one cluster. */
const OURS = /((?:\w+=\S+ )*)\bnpx fairlead (deploy|secrets|status|logs \w[\w-]*)(?: --context [^\s,;]+)?/g

/**
 * Makes commands in a text ones for a cluster, to be pasted as they are: with its context, and with the settings that somebody chose.
 * Without these `npx fairlead deploy` would bring another system than the one that was looked at.
 */
export function addressTo(context: string, chosen: Record<string, string>): (text: string) => string {
  const variables = Object.entries(chosen)
    .map(([name, value]) => `${name}=${quoted(value)} `)
    .join('')
  return text =>
    text
      .replace(/\bkubectl (?!--context)/g, `kubectl --context ${context} `)
      .replace(OURS, (_, own: string, command: string) => `${variables}${own}npx fairlead ${command} --context ${context}`)
}
