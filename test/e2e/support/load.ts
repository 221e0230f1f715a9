import { journey } from '../../../infra/journey.ts'
import { type Client, type Load, type LoadResult, splitJourney, startLoad } from '../../../scripts/journey/load.ts'
import { newClients, through } from './clients.ts'
import { report } from './target.ts'

/** As many as stand in line when nothing is answered for five seconds. */
const CLIENTS = 60
/** What a rollout has to bear without one failure. */
const REQUESTS_PER_SECOND = 50

/** Offers the journey at a rate of requests, whatever the answers. Each client does one thing after the other. */
export const offer = (requestsPerSecond: number, clients: readonly Client[], of = journey): Load =>
  startLoad(of, { ...through, stepTimeoutMs: 30_000, clients, perSecond: requestsPerSecond / splitJourney(of).repeated.length })

/** Offers load while something is done to the cluster, and counts what failed. */
export async function underLoad(title: string, work: () => Promise<unknown>): Promise<LoadResult> {
  const load = offer(REQUESTS_PER_SECOND, await newClients(CLIENTS))
  let result: LoadResult
  try {
    await work()
  } finally {
    result = await load.stop()
  }
  const { answers, failures, repetitions, durationsMs } = result
  const at = (share: number) => Math.round(durationsMs[Math.ceil(share * durationsMs.length) - 1] ?? Number.NaN)
  report(
    `${title}: ${durationsMs.length} answers (${Object.entries(answers)
      .map(([what, count]) => `${count} ${what}`)
      .join(', ')}), ${failures.length} of ${repetitions} journeys failed; p99 ${at(0.99)} ms, longest ${at(1)} ms`,
  )
  return result
}
