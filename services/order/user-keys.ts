import { createDeadline } from '@fairlead/chassis'
import type { Client } from '@fairlead/chassis/client'
import { createJwksCache, type JwksCache } from '@fairlead/chassis/identity'
import { linkedSpan, type Runtime } from '@fairlead/chassis/telemetry'
import type { JSONWebKeySet } from 'jose'
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
