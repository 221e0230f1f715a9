import { isIP } from 'node:net'
import { z } from 'zod'
import { formats, isOf } from './formats.ts'

/** Who takes traces over OTLP/gRPC. */
export interface OtlpEndpoint {
  host: string
  port: number
  /** Without TLS. */
  insecure: boolean
}

/** What receivers in a cluster listen at (https://opentelemetry.io/docs/specs/otlp), and what vendors do. */
const DEFAULT_PORTS = { http: 4_317, https: 443 }

export const otlpEndpoint = () =>
  z
    .string()
    .transform((text, context): OtlpEndpoint => {
      const [, scheme, six = '', name = '', port] = /^(https?):\/\/(?:\[([^\]]+)\]|([^/:@?#\s]+))(?::(\d{1,5}))?\/?$/.exec(text) ?? []
      const wrong = (message: string) => {
        context.addIssue({ code: 'custom', message })
        return z.NEVER
      }
      if (scheme !== 'http' && scheme !== 'https') return wrong('it is not http://HOST:PORT or https://HOST:PORT, without a path')
      if (six ? isIP(six) !== 6 : isIP(name) === 0 && !isOf(formats.objectName, name))
        return wrong(`${six || name} is neither a DNS name nor an address`)
      const chosen = Number(port ?? DEFAULT_PORTS[scheme])
      if (chosen < 1 || chosen > 65_535) return wrong(`${port} is no port`)
      return { host: six ? `[${six}]` : name, port: chosen, insecure: scheme === 'http' }
    })
    .describe(
      `the tracing backend's endpoint for OTLP over gRPC: http://HOST or https://HOST, with a port unless it is ${DEFAULT_PORTS.http} or for https ${DEFAULT_PORTS.https}`,
    )
