import { describe, expect, test } from 'vitest'
import { NotHere } from '../../../../scripts/doctor/check.ts'
import { createTrip, journeyChecks } from '../../../../scripts/doctor/checks/journey.ts'
import { CommandError } from '../../../../scripts/terminal.ts'
import { defineJourney } from '../../../../services/chassis/contract/journey.ts'
import { isKept, KEPT_SHARE } from '../../../../services/chassis/contract/sampling.ts'
import { answering, contextOf, type FakeCluster, fakeCluster, type Routes, runCheck } from '../../../support/fake-cluster.ts'
import { order, user } from '../../../support/graph.ts'

const journey = defineJourney(({ call }) => {
  call(order, 'listProducts')
  call(user, 'logIn')
})

const { signal } = new AbortController()
const run = (fake: FakeCluster, baseUrl: string) => {
  const context = contextOf(fake, { baseUrl })
  return runCheck(journeyChecks(context, createTrip(context, journey)), 'journey')
}
const refused = () => new Response('{"code":"too-many-attempts"}', { status: 429, headers: { 'content-type': 'application/problem+json' } })

describe('journey', () => {
  test('tells what each step was answered', async () => {
    const url = await answering({ '/products': () => new Response(), '/sessions': () => new Response() })
    expect(await run(fakeCluster(), url)).toBe('order.listProducts 200, user.logIn 200')
  })

  test('that fails names the step, and whose logs to read', async () => {
    const url = await answering({ '/products': () => new Response(), '/sessions': refused })
    await expect(run(fakeCluster(), url)).rejects.toEqual(
      new CommandError('user.logIn (step 2 of 2): POST /sessions answered 429 too-many-attempts', 'npx fairlead logs user'),
    )
  })

  test('that fails is blamed on what is not as the graph gives it', async () => {
    const fake = fakeCluster()
    fake.objects.delete('NetworkPolicy shop/user')
    const url = await answering({ '/products': () => new Response(), '/sessions': refused })
    await expect(run(fake, url)).rejects.toThrow('answered 429 too-many-attempts; the cause: NetworkPolicy shop/user is not there')
  })

  test('is taken once, whoever needs it, in traces that are kept', async () => {
    const traces: string[] = []
    const url = await answering({
      '/products': (_, { headers }) => {
        traces.push(String(headers.traceparent).split('-')[1] as string)
        return new Response()
      },
      '/sessions': () => new Response(),
    })
    const trip = createTrip(contextOf(fakeCluster(), { baseUrl: url }), journey)
    const [first, second] = await Promise.all([trip.take(signal), trip.take(signal)])
    expect(second).toBe(first)
    expect(traces).toEqual([first[0]?.traceId])
    expect(first.map(({ traceId }) => isKept(traceId, KEPT_SHARE))).toEqual([true, true])
  })

  test('is skipped in a system without one', async () => {
    const context = contextOf(fakeCluster())
    await expect(runCheck(journeyChecks(context, createTrip(context, undefined)), 'journey')).rejects.toEqual(
      new NotHere('the system has no journey (infra/journey.ts)'),
    )
  })

  test("of a foreign issuer's user is taken with the token of the environment, and skipped without", async () => {
    const seen: unknown[] = []
    const me: Routes[string] = (_, { headers }) => {
      seen.push(headers.authorization)
      return new Response()
    }
    const context = contextOf(fakeCluster(), { baseUrl: await answering({ '/users/me': me }) })
    const mine = defineJourney(recorder => {
      recorder.call(user, 'getMe', { as: recorder.user() })
    })
    await expect(runCheck(journeyChecks(context, createTrip(context, mine)), 'journey')).rejects.toEqual(
      new NotHere("the journey is a user's, and FAIRLEAD_USER_TOKEN has no access token"),
    )
    expect(await runCheck(journeyChecks(context, createTrip(context, mine, { FAIRLEAD_USER_TOKEN: 'abc' })), 'journey')).toBe('user.getMe 200')
    expect(seen).toEqual(['Bearer abc'])
  })
})
