import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { getCACertificates } from 'node:tls'
import { redirectsHttp, type Settings } from '@fairlead/infra/tools'
import { Agent } from 'undici'
import { INGRESS_PORTS } from './kind.ts'

/** Where this machine keeps its certificate authority. */
export const AUTHORITY_DIR = '.data/ca'

/** Where the ingress of a cluster of `npx fairlead up` is reached: its plain port, unless that only redirects. */
export const ingressUrl = (settings: Pick<Settings, 'HTTP' | 'HOST'>): string =>
  redirectsHttp(settings) ? `https://127.0.0.1:${INGRESS_PORTS.https}` : `http://127.0.0.1:${INGRESS_PORTS.http}`

/** Connections to an ingress whose certificate is for `host`, by whatever address it is reached; this machine's own authority is believed. */
export const ingressAgent = (host: string): Agent => {
  const file = join(AUTHORITY_DIR, 'ca.crt')
  const own = existsSync(file) ? [readFileSync(file, 'utf8')] : []
  return new Agent({ connect: { servername: host, ca: [...getCACertificates('default'), ...own] }, keepAliveTimeout: 60_000 })
}
