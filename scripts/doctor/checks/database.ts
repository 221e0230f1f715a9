import { ADMIN_PORT, type ServiceDefinition } from '@fairlead/chassis'
import { databaseSecret, POSTGRES } from '@fairlead/infra/tools'
import { toRun } from '../../remedy.ts'
import { type Check, Fault } from '../check.ts'
import type { Context } from '../context.ts'

/** Whether services reach their databases, by what each pod itself says of it. */
export const databaseChecks = (context: Context): Check[] =>
  context.system.services
    .filter(({ database }) => database)
    .map((service): Check => ({ name: `database of ${service.name}`, run: () => databaseAnswers(context, service) }))

async function databaseAnswers(context: Context, service: ServiceDefinition): Promise<string> {
  const { cluster, settings, blame, fairlead } = context
  const all = await cluster.list('v1', 'Pod', settings.NAMESPACE, `app.kubernetes.io/name=${service.name}`)
  const running = all.filter(
    ({ metadata, status }) =>
      !metadata.deletionTimestamp &&
      status.containerStatuses?.some(({ name, state }: { name: string; state: { running?: object } }) => name === service.name && state.running),
  )
  if (running.length === 0) throw new Fault(`${service.name} has no pod that runs`, toRun(fairlead('status')))
  for (const { metadata } of running) {
    const forwarded = await cluster.forward(settings.NAMESPACE, metadata.name, ADMIN_PORT)
    try {
      const answer = await fetch(`${forwarded.url}/readyz`, { signal: AbortSignal.timeout(10_000) })
      if (answer.status === 200) continue
      const failing = await failingIn(answer)
      if (!failing.includes('database'))
        throw new Fault(
          `${metadata.name} is not ready: ${failing.join(', ') || `answered ${answer.status}`}`,
          toRun(fairlead(`logs ${service.name}`)),
        )
      throw await blame(
        `${metadata.name} does not reach its database${await stateOfPostgres(context)}`,
        ({ kind, metadata: { name } }) =>
          (kind === 'NetworkPolicy' && [service.name, POSTGRES, 'default-deny'].includes(name)) ||
          (['StatefulSet', 'Service'].includes(kind) && name === POSTGRES),
        { advice: `does Secret ${databaseSecret(service)} have the right URL and password?`, commands: [fairlead('secrets')] },
      )
    } finally {
      await forwarded.close()
    }
  }
  return `answers ${running.length} pods`
}

/** Names of the checks of readiness that fail, which a service answers at `/readyz`. */
const failingIn = async (answer: Response): Promise<string[]> => ((await answer.json().catch(() => ({}))) as { failing?: string[] }).failing ?? []

async function stateOfPostgres({ settings, pods }: Context): Promise<string> {
  if (settings.DATABASE !== 'bundled') return ''
  return (await pods(POSTGRES, settings.NAMESPACE)).length === 0 ? `: ${POSTGRES} has no ready pod` : ''
}
