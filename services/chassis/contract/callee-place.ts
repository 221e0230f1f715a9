const MAX_NAME = 253
const LABEL = /^[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?$/i

/** Where a caller finds a callee. */
export type CalleePlace =
  /** By the addresses of a name, or at one address. */
  | { by: 'host'; host: string; port?: number }
  /** By the SRV records of a name. */
  | { by: 'srv'; name: string }

const SRV = 'srv:'

/**
 * `host`, `host:port` or `srv:name`.
 * @throws Error that says what is wrong
 */
export function parseCalleePlace(text: string): CalleePlace {
  if (text.startsWith(SRV)) return { by: 'srv', name: qualified(text.slice(SRV.length)) }
  const url = URL.parse(`http://${text}`)
  if (!url || text.includes('/') || url.username || url.search || url.hash || url.port === '0')
    throw new Error(`${text} is neither a host, with or without a port, nor srv: and a name`)
  const port = /:(\d+)$/.exec(text.replace(/^\[.*\]/, ''))?.[1]
  return { by: 'host', host: url.hostname, ...(port && { port: Number(port) }) }
}

function qualified(text: string): string {
  const labels = text.replace(/\.$/, '').split('.')
  if (text.length > MAX_NAME || !labels.every(label => LABEL.test(label))) throw new Error(`${text || 'nothing'} is no name in DNS`)
  if (labels.length < 2) throw new Error(`${text} is not fully qualified, e.g. ${text}.service.consul: no search domain is tried`)
  return labels.join('.')
}
