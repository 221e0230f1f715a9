import { afterEach, describe, expect, test, vi } from 'vitest'
import { NotHere } from '../../../../scripts/doctor/check.ts'
import { keyChecks } from '../../../../scripts/doctor/checks/keys.ts'
import { toRun } from '../../../../scripts/remedy.ts'
import { answering, contextOf, type FakeCluster, fakeCluster, podOf, runCheck, settings, skipPauses } from '../../../support/fake-cluster.ts'

const ISSUER = settings.WORKLOAD_ISSUER
const SECRETS = toRun('npx fairlead secrets --context kind-test')
const jwks = (...kids: string[]) => JSON.stringify({ keys: kids.map(kid => ({ kty: 'RSA', kid })) })

/** Callees have one set of keys, and the cluster signs with another. */
function clusterSigning(copied: string | undefined, signing: string, issuer = ISSUER): FakeCluster {
  const fake = fakeCluster()
  const metadata = { name: 'workload-issuer', namespace: 'acme' }
  if (copied !== undefined) fake.put({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'jwks.json': copied } } as never)
  fake.issuer = { issuer, jwks: signing }
  return fake
}

const run = (fake: FakeCluster, more = {}) => runCheck(keyChecks(contextOf(fake, more)), 'workload identity')

describe('workload identity', () => {
  test('is good when callees have every key that the cluster signs with', async () => {
    expect(await run(clusterSigning(jwks('old', 'new'), jwks('new')))).toBe(`2 key of ${ISSUER}`)
  })

  test('names the keys that callees lack', async () => {
    await expect(run(clusterSigning(jwks('old'), jwks('old', 'new', 'newer')))).rejects.toMatchObject({
      message: 'ConfigMap acme/workload-issuer lacks the key new, newer that the cluster signs tokens with: calls between services are refused',
      remedy: SECRETS,
    })
  })

  test('is missing', async () => {
    await expect(run(clusterSigning(undefined, jwks('new')))).rejects.toMatchObject({
      message: "ConfigMap acme/workload-issuer is not there: no callee can verify its callers' tokens",
      remedy: SECRETS,
    })
  })

  test('lacks the file', async () => {
    const fake = clusterSigning('', jwks('new'))
    fake.edit('ConfigMap acme/workload-issuer', live => {
      live.data = {}
    })
    await expect(run(fake)).rejects.toThrow('ConfigMap acme/workload-issuer lacks the key new ')
  })

  test('cannot be read', async () => {
    await expect(run(clusterSigning('{"keys', jwks('new')))).rejects.toMatchObject({
      name: 'CommandError',
      message: expect.stringMatching(/^ConfigMap acme\/workload-issuer /),
      remedy: SECRETS,
    })
  })

  test('is of another issuer than the services expect', async () => {
    await expect(run(clusterSigning(jwks('new'), jwks('new'), 'https://oidc.example.org'))).rejects.toMatchObject({
      message: `the cluster's tokens are issued by https://oidc.example.org, and the services expect WORKLOAD_ISSUER ${ISSUER}`,
      remedy: toRun('WORKLOAD_ISSUER=https://oidc.example.org npx fairlead deploy --context kind-test'),
    })
  })

  test('is mended by a command with the right issuer and with the other settings that were chosen', async () => {
    const chosen = { WORKLOAD_ISSUER: ISSUER, NAMESPACE: 'acme' }
    await expect(run(clusterSigning(jwks('new'), jwks('new'), 'https://oidc.example.org'), { chosen })).rejects.toMatchObject({
      remedy: toRun('WORKLOAD_ISSUER=https://oidc.example.org NAMESPACE=acme npx fairlead deploy --context kind-test'),
    })
  })

  test("is mended by a command that is one, whatever the cluster's issuer is called", async () => {
    await expect(run(clusterSigning(jwks('new'), jwks('new'), 'https://x; rm -rf ~'))).rejects.toMatchObject({
      remedy: toRun("WORKLOAD_ISSUER='https://x; rm -rf ~' npx fairlead deploy --context kind-test"),
    })
  })

  test('needs no copy of keys that the issuer publishes, but the right issuer', async () => {
    const byUrl = { settings: { ...settings, WORKLOAD_JWKS: 'https://oidc.example.org/keys' } }
    expect(await run(clusterSigning(undefined, jwks('new')), byUrl)).toBe(`keys of ${ISSUER} from https://oidc.example.org/keys`)
    await expect(run(clusterSigning(undefined, jwks('new'), 'https://oidc.example.org'), byUrl)).rejects.toThrow(
      'the services expect WORKLOAD_ISSUER',
    )
  })

  test('is nothing to look at where no service calls another', async () => {
    const { system } = contextOf(fakeCluster())
    const alone = { ...system, services: system.services.slice(0, 1) }
    await expect(run(clusterSigning(undefined, jwks('new')), { system: alone })).rejects.toEqual(new NotHere('no service calls another'))
  })
})

describe('age of a key', () => {
  const NOW = Date.parse('2026-11-24T12:00:00Z')
  afterEach(() => vi.useRealTimers())

  /** A Prometheus that knows since when keys are in use, from some look on. */
  async function inUseFor(days?: number, fromLook = 1) {
    vi.useFakeTimers({ toFake: ['Date'], now: NOW })
    const fake = fakeCluster()
    fake.put(podOf('prometheus', { namespace: 'observability', name: 'prometheus-0' }))
    const queries: (string | null)[] = []
    const query = (search: URLSearchParams) => {
      queries.push(search.get('query'))
      return Response.json({
        data: { result: days === undefined || queries.length < fromLook ? [] : [{ metric: {}, value: [0, String(NOW / 1_000 - days * 86_400)] }] },
      })
    }
    fake.listening.set('observability/prometheus-0:9090', await answering({ '/api/v1/query': query }))
    return { queries, age: () => runCheck(keyChecks(contextOf(fake)), 'age of seals') }
  }

  test('is asked of Prometheus, of the service that has it', async () => {
    const { age, queries } = await inUseFor(3)
    await age()
    expect(queries).toEqual(['min(secret_since_timestamp_seconds{job="stock",namespace="acme",secret="seals"})'])
  })

  test.each([
    [-0.01, '0 of 90 days'],
    [0.5, '0 of 90 days'],
    [90, '90 of 90 days'],
  ])('of %d days is young', async (days, said) => {
    expect(await (await inUseFor(days)).age()).toBe(said)
  })

  test('of 91 days is too old', async () => {
    await expect((await inUseFor(91)).age()).rejects.toMatchObject({
      message: 'seals is in use for 91 days; it is to be rotated after 90',
      remedy: { page: 'docs/runbooks/secret-overdue.md' },
    })
  })

  test('is waited for until Prometheus has heard of it', async () => {
    skipPauses()
    expect(await (await inUseFor(3, 20)).age()).toBe('3 of 90 days')
  })

  test('that nobody tells is trouble, once Prometheus has had the time to hear of it', async () => {
    skipPauses()
    await expect((await inUseFor()).age()).rejects.toMatchObject({
      message: 'nobody says since when seals is in use, so that no alert asks for a new one',
      remedy: {
        advice: "main.ts of stock has to call metrics.secretSince('seals', ...)",
        commands: ['npx fairlead logs stock --context kind-test'],
      },
    })
  })

  test('is not checked of keys without one', () => {
    const { system } = contextOf(fakeCluster())
    const [hello, , booking] = system.services
    const more = { ...hello, secrets: [{ name: 'payment', env: 'PAYMENT_DIR' }] }
    const checks = keyChecks(contextOf(fakeCluster(), { system: { ...system, services: [more, booking] as never } }))
    expect(checks.map(({ name }) => name)).toEqual(['workload identity'])
  })
})
