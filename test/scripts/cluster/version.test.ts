import { expect, test } from 'vitest'
import type { Cluster } from '../../../scripts/cluster/cluster.ts'
import { requireVersion } from '../../../scripts/cluster/version.ts'
import { toRun } from '../../../scripts/remedy.ts'

const clusterOf = (major: string, minor: string) => ({ context: 'kind-test', version: async () => ({ major, minor }) }) as unknown as Cluster

test.each([
  ['1', '33'],
  ['1', '34+'],
  ['2', '0'],
])('Kubernetes %s.%s is new enough', async (major, minor) => {
  expect(await requireVersion(clusterOf(major, minor))).toBe(`Kubernetes ${major}.${minor}`)
})

test.each([
  ['1', '32'],
  ['1', '9+'],
])('Kubernetes %s.%s is refused in one line', async (major, minor) => {
  await expect(requireVersion(clusterOf(major, minor))).rejects.toMatchObject({
    message: `'kind-test' runs Kubernetes ${major}.${minor}; the manifests need 1.33 or newer`,
    remedy: toRun('kubectl --context kind-test version'),
  })
})
