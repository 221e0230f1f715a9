import type { Check } from './refused.ts'

/** The bundled ingress appends the last entry itself, and drops what proxies before it say unless it is told to trust them. */
export const trustedHops: Check = ({ settings: { PLATFORM, TRUSTED_HOPS, TRUSTED_PROXIES } }) => {
  if (PLATFORM !== 'bundled') return []
  if (TRUSTED_HOPS === 0) return ['TRUSTED_HOPS 0 with PLATFORM bundled: the bundled ingress is a hop, and every client would have its address']
  if (TRUSTED_HOPS > 1 && TRUSTED_PROXIES.length === 0)
    return [
      `TRUSTED_HOPS ${TRUSTED_HOPS} with no TRUSTED_PROXIES: the bundled ingress drops what the proxies in front say of their clients unless it knows where they are`,
    ]
  return []
}
