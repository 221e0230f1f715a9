import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { ApiError } from '../../../../scripts/cluster/rest.ts'
import { NotHere } from '../../../../scripts/doctor/check.ts'
import { clusterChecks } from '../../../../scripts/doctor/checks/cluster.ts'
import { toRun } from '../../../../scripts/remedy.ts'
import { contextOf, type FakeCluster, fakeCluster, manifests, runCheck } from '../../../support/fake-cluster.ts'

const run = (fake: FakeCluster, name: string) => runCheck(clusterChecks(contextOf(fake)), name)

describe('tools', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fairlead-tools-'))
    vi.stubEnv('PATH', dir)
    return async () => {
      vi.unstubAllEnvs()
      await rm(dir, { recursive: true, force: true })
    }
  })

  const install = async (name: string, script: string) => {
    await writeFile(join(dir, name), `#!/bin/sh\n${script}\n`)
    await chmod(join(dir, name), 0o755)
  }

  test('are told with their versions', async () => {
    await install('kind', 'echo kind v0.31.0 go1.25.5 linux/amd64')
    await install('docker', 'echo 29.1.3')
    expect(await run(fakeCluster(), 'tools')).toBe('kind v0.31.0, docker 29.1.3')
  })

  test('that are missing are named, with where they are from', async () => {
    await install('kind', 'echo kind v0.31.0')
    await expect(run(fakeCluster(), 'tools')).rejects.toMatchObject({
      message: 'docker is not installed, or not on the PATH',
      remedy: { page: 'https://docs.docker.com/engine/install' },
    })
  })

  test('are not needed for a cluster that is not of this machine', async () => {
    const fake = fakeCluster()
    fake.cluster.context = 'production'
    await expect(run(fake, 'tools')).rejects.toEqual(new NotHere('docker and kind are for clusters of this machine'))
  })
})

const node = (name: string, ...conditions: object[]) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name },
  status: { conditions: [{ type: 'MemoryPressure', status: 'False' }, ...conditions], nodeInfo: { kubeletVersion: 'v1.34.2' } },
})
const ready = { type: 'Ready', status: 'True' }

describe('nodes', () => {
  test('that are ready are counted', async () => {
    expect(await run(fakeCluster([node('a', ready), node('b', ready)]), 'nodes')).toBe('2 ready, Kubernetes v1.34.2')
  })

  test.each<[string, object[], string]>([
    ['that is not ready', [{ type: 'Ready', status: 'False', message: 'CNI is not initialized' }], 'CNI is not initialized'],
    ['that nobody hears of', [{ type: 'Ready', status: 'Unknown', message: 'Kubelet stopped posting' }], 'Kubelet stopped posting'],
    ['that says nothing', [], 'it says nothing'],
  ])('one %s is named', async (_, conditions, says) => {
    await expect(run(fakeCluster([node('a', ready), node('b', ...conditions)]), 'nodes')).rejects.toMatchObject({
      message: `node b is not ready: ${says}`,
      remedy: toRun('kubectl --context kind-test describe node b'),
    })
  })
})

describe('kinds', () => {
  test('are all of the graph', async () => {
    const kinds = new Set(manifests.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`))
    expect(await run(fakeCluster(), 'kinds')).toBe(`${kinds.size} known`)
  })

  test('that the cluster does not know are named all at once', async () => {
    const fake = fakeCluster()
    fake.unknown.add('PrometheusRule').add('ServiceMonitor')
    await expect(run(fake, 'kinds')).rejects.toMatchObject({
      message: expect.stringMatching(
        /^the cluster knows no (ServiceMonitor|PrometheusRule)\.monitoring\.coreos\.com\/v1 and no (ServiceMonitor|PrometheusRule)\.monitoring\.coreos\.com\/v1: the CustomResourceDefinition is missing$/,
      ),
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })

  test('are not said to be missing when the API server refuses to tell', async () => {
    const fake = fakeCluster()
    fake.cluster.serves = () => Promise.reject(new ApiError(403, 'forbidden'))
    await expect(run(fake, 'kinds')).rejects.toThrow(/^forbidden$/)
  })
})
