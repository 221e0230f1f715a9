import { isIP, isIPv6 } from 'node:net'

export interface DnsServer {
  /** An IP address. */
  host: string
  port: number
}

const DNS_PORT = 53

/**
 * `10.0.0.2`, `127.0.0.1:8600`, `fd00::2` or `[fd00::2]:8600`.
 * @throws Error that says what is wrong
 */
export function parseDnsServer(text: string): DnsServer {
  const [, bracketed, plain, port] = (isIP(text) ? undefined : /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text)) ?? ['', undefined, text]
  const host = bracketed ?? plain ?? ''
  const number = Number(port ?? DNS_PORT)
  if (isIP(host) === 0 || number < 1 || number > 65_535) throw new Error(`${text} is no address of a DNS server such as 10.0.0.2 or 127.0.0.1:8600`)
  return { host, port: number }
}

export const describeDnsServer = ({ host, port }: DnsServer): string => `${isIPv6(host) ? `[${host}]` : host}:${port}`
