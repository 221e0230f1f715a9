import { journey } from '../../../infra/journey.ts'
import { runJourney } from '../../../scripts/journey/run-journey.ts'
import { ingressUrl, settings } from './target.ts'

const { signal } = new AbortController()

/** Takes the system's journey through the ingress. @returns its steps and their statuses */
export async function takeJourney(baseUrl: string = ingressUrl): Promise<string> {
  const taken = await runJourney(journey, { origin: () => baseUrl, host: settings.HOST, signal })
  return taken.map(({ title, status }) => `${title} ${status}`).join(', ')
}
