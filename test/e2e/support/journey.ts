import { journey } from '../../../infra/journey.ts'
import { runJourney } from '../../../scripts/journey/run-journey.ts'
import { through } from './clients.ts'
import { ingressUrl } from './target.ts'

/** Takes the system's journey through the ingress. @returns its steps and their statuses */
export async function takeJourney(baseUrl: string = ingressUrl): Promise<string> {
  const taken = await runJourney(journey, { ...through, origin: () => baseUrl })
  return taken.map(({ title, status }) => `${title} ${status}`).join(', ')
}
