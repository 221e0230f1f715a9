import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { PROMETHEUS_OPERATOR_CRDS as URL } from '../../../infra/kit/settings/images.ts'
import type { Cluster, Reference } from '../../../scripts/cluster/cluster.ts'
import { crdSource, ensureCrds, GATEWAY_API } from '../../../scripts/cluster/crds.ts'

const FILE = 'apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: prometheuses.monitoring.coreos.com\n'
const SHA256 = createHash('sha256').update(FILE).digest('hex')
const OTHER = '0'.repeat(64)
const { signal } = new AbortController()

function fakeCluster() {
  const applied: string[] = []
  const cluster = {
    context: 'kind-test',
    apply: async ({ metadata }: Reference) => {
      applied.push(metadata.name)
      return 'created'
    },
    read: async () => ({ status: { conditions: [{ type: 'Established', status: 'True' }] } }),
  } as unknown as Cluster
  return { cluster, applied }
}

beforeEach(() => void vi.stubGlobal('fetch', async (url: string) => new Response(url === URL ? FILE : '', { status: url === URL ? 200 : 404 })))
afterEach(() => void vi.unstubAllGlobals())

describe("prometheus-operator's kinds from its release", () => {
  test('are applied when they have the SHA-256 that was asked for', async () => {
    const { cluster, applied } = fakeCluster()
    await ensureCrds(cluster, crdSource({ sha256: SHA256.toUpperCase() }), signal)
    expect(applied).toEqual(['prometheuses.monitoring.coreos.com'])
  })

  test('are refused in one line when they have another, and nothing is applied', async () => {
    const { cluster, applied } = fakeCluster()
    await expect(ensureCrds(cluster, crdSource({ sha256: OTHER }), signal)).rejects.toMatchObject({
      name: 'CommandError',
      message: `${URL} has the SHA-256 ${SHA256}, not ${OTHER} (--crds-sha256): nothing of it was applied`,
    })
    expect(applied).toEqual([])
  })

  test('say what they are when nobody has said what they must be', async () => {
    const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const { cluster, applied } = fakeCluster()
    await ensureCrds(cluster, { folder: undefined }, signal)
    const lines = said.mock.calls.join('')
    said.mockRestore()
    expect(lines).toContain(`${URL} is compared with nothing; --crds-sha256 ${SHA256} takes only what it is now`)
    expect(applied).toHaveLength(1)
  })
})

test.each(['', 'abc', `${SHA256}0`, 'g'.repeat(64)])('--crds-sha256 %j is refused', sha256 => {
  expect(() => crdSource({ sha256 })).toThrow(
    expect.objectContaining({ message: '--crds-sha256 (or FAIRLEAD_CRDS_SHA256) is not a SHA-256: 64 hex digits', exitCode: 2 }),
  )
})

test('a folder of files that are there is not compared', () => {
  expect(crdSource({ folder: 'crds', sha256: SHA256 })).toEqual({
    folder: 'crds',
    sha256: undefined,
    release: expect.objectContaining({ flag: 'crds' }),
  })
})

test("Gateway API's kinds have a folder, a release and a SHA-256 of their own", async () => {
  expect(crdSource({ folder: 'gateway' }, GATEWAY_API)).toMatchObject({ folder: 'gateway' })
  expect(() => crdSource({ sha256: 'abc' }, GATEWAY_API)).toThrow(
    '--gateway-crds-sha256 (or FAIRLEAD_GATEWAY_CRDS_SHA256) is not a SHA-256: 64 hex digits',
  )
  const { cluster } = fakeCluster()
  await expect(ensureCrds(cluster, crdSource({}, GATEWAY_API), signal)).rejects.toThrow(
    /gateway-api\/releases\/.* cannot be had \(status 404\): name a folder with its files by --gateway-crds or FAIRLEAD_GATEWAY_CRDS$/,
  )
  await expect(ensureCrds(cluster, crdSource({ folder: '/nowhere' }, GATEWAY_API), signal)).rejects.toThrow(
    '--gateway-crds /nowhere cannot be read: ENOENT',
  )
})
