import ipaddr from 'ipaddr.js'
import { z } from 'zod'
import { type Format, formats, isOf } from './formats.ts'

/** Text of a format. */
export const textOf = (format: Format) => z.string().refine(text => isOf(format, text), { message: `it is not ${format.takes}` })

/** A setting of a format; an object's name, say. Without a fallback it has to be said. */
export const formatted = (format: Format, what: string, fallback?: string) =>
  (fallback === undefined ? textOf(format) : textOf(format).prefault(fallback)).describe(what)

export const optional = (format: Format, what: string) => textOf(format).optional().describe(what)

/** A namespace that nobody else may have: it gets a policy that denies all traffic. */
export const ownNamespace = (what: string) =>
  textOf(formats.namespace)
    .refine(name => !isReserved(name), { message: 'it is one of Kubernetes itself' })
    .describe(what)

export const isReserved = (namespace: string): boolean => namespace === 'default' || namespace.startsWith('kube-')

/**
 * Texts separated by commas.
 * @param parse throws an Error whose message says what is wrong with one of them
 */
export const listOf = <T>(parse: (item: string) => T, what: string) =>
  z
    .string()
    .default('')
    .transform((text, context) =>
      text
        .split(',')
        .map(item => item.trim())
        .filter(Boolean)
        .flatMap(item => {
          try {
            return [parse(item)]
          } catch (error) {
            context.addIssue({ code: 'custom', message: (error as Error).message })
            return []
          }
        }),
    )
    .describe(`${what}, separated by commas`)

/** An address range as the API server takes it: four decimal parts or IPv6, and no bits beyond the prefix. */
export function parseCidr(text: string): string {
  const wrong = (why: string) => new Error(`${text} ${why}`)
  const isFour = ipaddr.IPv4.isValidCIDRFourPartDecimal(text)
  if (!isFour && !ipaddr.IPv6.isValidCIDR(text)) throw wrong('is no address range such as 10.0.0.0/8')
  const [address, bits] = ipaddr.parseCIDR(text)
  if (address instanceof ipaddr.IPv6 && (address.isIPv4MappedAddress() || text.includes('%'))) throw wrong('is no address range of a network')
  const kind = isFour ? ipaddr.IPv4 : ipaddr.IPv6
  const network = kind.networkAddressFromCIDR(text)
  if (network.toString() !== address.toString()) throw wrong(`has bits beyond its prefix: ${network}/${bits}`)
  return text
}

export const cidrs = (what: string) => listOf(parseCidr, `${what}, as CIDRs such as 10.0.0.0/8`)

export function parseLabel(text: string): [key: string, value: string] {
  const at = text.indexOf('=')
  const [key, value] = [text.slice(0, at), text.slice(at + 1)]
  if (at < 1) throw new Error(`${text} is not key=value`)
  if (!isOf(formats.labelKey, key)) throw new Error(`${key} is not ${formats.labelKey.takes}`)
  if (!isOf(formats.labelValue, value)) throw new Error(`${value} is not ${formats.labelValue.takes}`)
  return [key, value]
}

export const labels = (fallback: string, what: string) =>
  listOf(parseLabel, `${what}, as key=value`)
    .transform(pairs => Object.fromEntries(pairs) as Record<string, string>)
    .prefault(fallback)
    .describe(`${what}, as key=value,key=value`)
