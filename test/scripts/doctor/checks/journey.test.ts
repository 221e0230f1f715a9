import { describe, expect, test } from 'vitest'
import { NotHere } from '../../../../scripts/doctor/check.ts'
import { createTrip, journeyChecks } from '../../../../scripts/doctor/checks/journey.ts'
import { toRun } from '../../../../scripts/remedy.ts'
import { defineJourney } from '../../../../services/chassis/contract/journey.ts'
import { isKept, KEPT_SHARE } from '../../../../services/chassis/contract/sampling.ts'
import { booking, hello, stock } from '../../../support/acme.ts'
import { answering, contextOf, type FakeCluster, fakeCluster, type Routes, runCheck } from '../../../support/fake-cluster.ts'

const journey = defineJourney(({ call }) => {
  call(stock, 'listItems')
  call(hello, 'listGreetings')
})

const { signal } = new AbortController()
const run = (fake: FakeCluster, baseUrl: string) => {
  const context = contextOf(fake, { baseUrl })
  return runCheck(journeyChecks(context, createTrip(context, journey)), 'journey')
}
const refused = () => new Response('{"code":"too-many-attempts"}', { status: 429, headers: { 'content-type': 'application/problem+json' } })

describe('journey', () => {
  test('tells what each step was answered', async () => {
    const url = await answering({ '/items': () => new Response(), '/greetings': () => new Response() })
    expect(await run(fakeCluster(), url)).toBe('stock.listItems 200, hello.listGreetings 200')
  })

  test('that fails names the step, and whose logs to read', async () => {
    const url = await answering({ '/items': () => new Response(), '/greetings': refused })
    await expect(run(fakeCluster(), url)).rejects.toMatchObject({
      message: 'hello.listGreetings (step 2 of 2): GET /greetings answered 429 too-many-attempts',
      remedy: toRun('npx fairlead logs hello --context kind-test'),
    })
  })

  test('that fails is blamed on what is not as the graph gives it', async () => {
    const fake = fakeCluster()
    fake.objects.delete('NetworkPolicy acme/hello')
    const url = await answering({ '/items': () => new Response(), '/greetings': refused })
    await expect(run(fake, url)).rejects.toThrow('answered 429 too-many-attempts; the cause: NetworkPolicy acme/hello: not there')
  })

  test('is taken once, whoever needs it, in traces that are kept', async () => {
    const traces: string[] = []
    const url = await answering({
      '/items': (_, { headers }) => {
        traces.push(String(headers.traceparent).split('-')[1] as string)
        return new Response()
      },
      '/greetings': () => new Response(),
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
    const context = contextOf(fakeCluster(), { baseUrl: await answering({ '/bookings': me }) })
    const mine = defineJourney(recorder => {
      recorder.call(booking, 'listBookings', { as: recorder.user() })
    })
    await expect(runCheck(journeyChecks(context, createTrip(context, mine)), 'journey')).rejects.toEqual(
      new NotHere("the journey is a user's, and FAIRLEAD_USER_TOKEN has no access token"),
    )
    expect(
      await runCheck(
        journeyChecks(
          context,
          createTrip(context, mine, async () => 'abc'),
        ),
        'journey',
      ),
    ).toBe('booking.listBookings 200')
    expect(seen).toEqual(['Bearer abc'])
  })
})
