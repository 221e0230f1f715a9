import type { JSONWebKeySet } from 'jose'
import type { Client } from '../chassis/client.ts'
import { createDeadline } from '../chassis/deadline.ts'
import { createJwksCache, type JwksCache } from '../chassis/jwks.ts'
import type { Runtime } from '../chassis/runtime.ts'
import { linkedSpan } from '../chassis/tracing.ts'
import type { userContract } from '../user/contract.ts'

const FETCH_MS = 1_500

/** The keys of users' access tokens, fetched over the graph's edge. */
export function watchUserKeys(user: Client<typeof userContract>, { tracer, log }: Runtime): JwksCache {
  return createJwksCache({
    log,
    fetch: async () => {
      const deadline = createDeadline(FETCH_MS)
      const span = linkedSpan(tracer, 'fetch token keys', undefined)
      try {
        const answer = await user.call({ deadline, span, log }, 'getKeys', {})
        if ('problem' in answer) throw new Error(`the user service answered ${answer.status}`)
        return answer.body as unknown as JSONWebKeySet
      } finally {
        deadline.clear()
        span.end()
      }
    },
  })
}
