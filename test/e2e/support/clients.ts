import { journey } from '../../../infra/journey.ts'
import { type Client, comeIn } from '../../../scripts/journey/load.ts'
import { noteSecrets } from './secrets.ts'
import { ingressUrl, settings } from './target.ts'
import { forgetRegistrations } from './throttle.ts'

/** How the system is reached by its clients. */
export const through = { origin: () => ingressUrl, host: settings.HOST, signal: new AbortController().signal }

/** What one address may register in 15 minutes, by the user service's REGISTRATIONS_PER_ADDRESS. */
const REGISTRATIONS = 20

/** New clients of the system, whose tokens live for five minutes. */
export async function newClients(count: number, of = journey): Promise<Client[]> {
  const clients: Client[] = []
  while (clients.length < count) {
    await forgetRegistrations()
    clients.push(...(await comeIn(of, Math.min(REGISTRATIONS, count - clients.length), through)))
  }
  // For those who register next: `up`, the journey, a customer of another test.
  await forgetRegistrations()
  for (const { sent, body } of clients.flatMap(({ taken }) => taken)) noteSecrets(...secretsOf(sent.body), ...secretsOf(body))
  return clients
}

/** Of an object, what no log may have. */
function secretsOf(body: unknown): string[] {
  const { email, password, accessToken, refreshToken } = (body ?? {}) as Record<string, string | undefined>
  return [email, password, accessToken, accessToken?.split('.')[2], refreshToken].filter(text => text !== undefined)
}
