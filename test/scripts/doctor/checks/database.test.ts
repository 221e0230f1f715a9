import { describe, expect, test } from 'vitest'
import { loadSettings } from '../../../../infra/kit/settings/settings.ts'
import { databaseChecks } from '../../../../scripts/doctor/checks/database.ts'
import { toRun } from '../../../../scripts/remedy.ts'
import { system } from '../../../support/acme.ts'
import { answering, contextOf, type FakeCluster, fakeCluster, podOf, runCheck } from '../../../support/fake-cluster.ts'

/** A pod of bookings whose admin port says whether it is ready. */
async function addBookingPod(fake: FakeCluster, name: string, status: number, text: string): Promise<void> {
  fake.put(podOf('booking', { name, ready: status === 200 }))
  const readyz = () => new Response(`${text}\n`, { status, headers: { 'content-type': 'text/plain' } })
  fake.listening.set(`acme/${name}:9090`, await answering({ '/readyz': readyz }))
}

/** As the admin port of a service answers. */
const failing = (...names: string[]) => JSON.stringify({ failing: names })

async function clusterSaying(status: number, text: string, { postgres = true } = {}): Promise<FakeCluster> {
  const fake = fakeCluster()
  await addBookingPod(fake, 'booking-a', status, text)
  if (postgres) fake.put(podOf('postgres', { name: 'postgres-0' }))
  return fake
}

const run = (fake: FakeCluster, more = {}) => runCheck(databaseChecks(contextOf(fake, more)), 'database of booking')

const SECRETS = {
  advice: 'does Secret booking-database have the right URL and password?',
  commands: ['npx fairlead secrets --context kind-test'],
}

describe('database of a service', () => {
  test('is checked for each that has one', () => {
    const { system } = contextOf(fakeCluster())
    const [hello, stock, booking] = system.services
    const withoutOne = { ...system, services: [hello, stock, { ...booking, database: undefined }] as never }
    expect(databaseChecks(contextOf(fakeCluster())).map(({ name }) => name)).toEqual(['database of stock', 'database of booking'])
    expect(databaseChecks(contextOf(fakeCluster(), { system: withoutOne })).map(({ name }) => name)).toEqual(['database of stock'])
  })

  test('answers every pod that runs', async () => {
    const fake = await clusterSaying(200, 'ok')
    await addBookingPod(fake, 'booking-b', 200, 'ok')
    const ended = podOf('booking', { name: 'booking-ended' })
    ended.status.containerStatuses[0].state = { terminated: { exitCode: 1 } }
    const leaving = podOf('booking', { name: 'booking-leaving' })
    leaving.metadata.deletionTimestamp = '2026-01-01T00:00:00Z'
    const looking = podOf('booking', { name: 'probe-1' })
    looking.status.containerStatuses[0].name = 'probe'
    fake.put(ended, leaving, looking)
    expect(await run(fake)).toBe('answers 2 pods')
    expect(fake.forwarded).toEqual([])
  })

  test('is not reached by one of the pods', async () => {
    const fake = await clusterSaying(200, 'ok')
    await addBookingPod(fake, 'booking-b', 503, failing('database', 'draining'))
    await expect(run(fake)).rejects.toMatchObject({ message: 'booking-b does not reach its database', remedy: SECRETS })
    expect(fake.forwarded).toEqual([])
  })

  test('is down', async () => {
    const fake = await clusterSaying(503, failing('database'), { postgres: false })
    fake.edit('StatefulSet acme/postgres', ({ spec }) => {
      spec.replicas = 0
    })
    await expect(run(fake)).rejects.toMatchObject({
      message:
        'booking-a does not reach its database: postgres has no ready pod; the cause: StatefulSet acme/postgres: spec.replicas is 0, the graph says 1',
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })

  test.each(['booking', 'postgres', 'default-deny'])('is blamed on NetworkPolicy %s when that is gone, and not on those of others', async name => {
    const fake = await clusterSaying(503, failing('database'))
    fake.objects.delete(`NetworkPolicy acme/${name}`)
    fake.objects.delete('NetworkPolicy acme/stock')
    await expect(run(fake)).rejects.toThrow(new RegExp(`^booking-a does not reach its database; the cause: NetworkPolicy acme/${name}: not there$`))
  })

  test('that is external has no pods to look at', async () => {
    const fake = await clusterSaying(503, failing('database'), { postgres: false })
    await expect(run(fake, { settings: loadSettings({ DATABASE: 'external', DATABASE_CIDR: '10.20.0.0/16' }, system) })).rejects.toThrow(
      /^booking-a does not reach its database$/,
    )
  })

  test.each([
    [503, failing('draining'), 'draining'],
    [503, failing('database-of-others'), 'database-of-others'],
    [404, 'no database', 'answered 404'],
  ])('is not to blame when the pod answers %i %s', async (status, text, says) => {
    await expect(run(await clusterSaying(status, text))).rejects.toMatchObject({
      message: `booking-a is not ready: ${says}`,
      remedy: toRun('npx fairlead logs booking --context kind-test'),
    })
  })

  test('is not known without a pod that runs', async () => {
    await expect(run(fakeCluster())).rejects.toMatchObject({
      message: 'booking has no pod that runs',
      remedy: toRun('npx fairlead status --context kind-test'),
    })
  })
})
