import { hostname } from 'node:os'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Cluster, Live, Reference } from '../../../scripts/cluster/cluster.ts'
import { withLease } from '../../../scripts/cluster/lease.ts'
import { ApiError } from '../../../scripts/cluster/rest.ts'
import { toRun } from '../../../scripts/remedy.ts'

const START = new Date('2026-01-01T10:00:00Z')
const { signal } = new AbortController()

beforeEach(() => void vi.useFakeTimers({ now: START }))
afterEach(() => void vi.useRealTimers())

/** An API server that keeps one Lease and refuses a change of a version that is no longer there. */
function fakeCluster(spec?: object) {
  let version = 1
  const state: { live: Live | undefined; answers: boolean } = { live: undefined, answers: true }
  const put = (live: Reference, changed: object) => {
    state.live = { ...live, metadata: { ...live.metadata, resourceVersion: String(version++) }, spec: changed }
  }
  if (spec) put({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'fairlead-deploy', namespace: 'acme' } }, spec)
  const cluster = {
    context: 'kind-test',
    read: async () => {
      if (!state.answers) throw new Error('no answer')
      return structuredClone(state.live)
    },
    create: async (manifest: Live) => {
      if (state.live) return false
      put(manifest, manifest.spec)
      return true
    },
    patch: async (reference: Reference, change: Live) => {
      if (change.metadata.resourceVersion !== state.live?.metadata.resourceVersion) throw new ApiError(409, 'the object has been modified')
      const merged = Object.entries({ ...state.live?.spec, ...change.spec }).filter(([, value]) => value !== null)
      put(reference, Object.fromEntries(merged))
    },
  } as unknown as Cluster
  return { cluster, state, put }
}

const other = (renewTime: string) => ({
  holderIdentity: 'ada@elsewhere (process 7)',
  acquireTime: '2026-01-01T09:58:00.000000Z',
  renewTime,
  leaseDurationSeconds: 60,
})
const FRESH = '2026-01-01T09:59:30.000000Z'
const STALE = '2026-01-01T09:58:59.000000Z'

describe('the lease of a deploy', () => {
  test('is held while the work runs, and free afterwards', async () => {
    const { cluster, state } = fakeCluster()
    const done = await withLease(cluster, 'acme', signal, async () => {
      expect(state.live?.spec).toEqual({
        holderIdentity: expect.stringContaining(`@${hostname()} (process ${process.pid})`),
        acquireTime: '2026-01-01T10:00:00.000000Z',
        renewTime: '2026-01-01T10:00:00.000000Z',
        leaseDurationSeconds: 60,
      })
      return 'done'
    })
    expect(done).toBe('done')
    expect(state.live?.spec).not.toHaveProperty('holderIdentity')
    await withLease(cluster, 'acme', signal, async () => expect(state.live?.spec.holderIdentity).toContain(hostname()))
  })

  test('is free after work that failed', async () => {
    const { cluster, state } = fakeCluster()
    await expect(withLease(cluster, 'acme', signal, () => Promise.reject(new Error('not ready')))).rejects.toThrow('not ready')
    expect(state.live?.spec).not.toHaveProperty('holderIdentity')
  })

  test('is refused while another holds it, and says who, since when, and where to look', async () => {
    const { cluster, state } = fakeCluster(other(FRESH))
    const work = vi.fn()
    await expect(withLease(cluster, 'acme', signal, work)).rejects.toMatchObject({
      message: `another deploy by ada@elsewhere (process 7) runs since 2026-01-01T09:58:00.000000Z; it was last heard of at ${FRESH}`,
      remedy: toRun('kubectl --context kind-test -n acme get lease fairlead-deploy -o yaml'),
    })
    expect(work).not.toHaveBeenCalled()
    expect(state.live?.spec.holderIdentity).toBe('ada@elsewhere (process 7)')
  })

  test('is taken over from one that was not heard of for longer than it lasts', async () => {
    const { cluster, state } = fakeCluster(other(STALE))
    await withLease(cluster, 'acme', signal, async () => expect(state.live?.spec.holderIdentity).toContain(hostname()))
  })

  test('goes to one of two that take it over at once', async () => {
    const { cluster, state, put } = fakeCluster(other(STALE))
    const { patch } = cluster
    const faster: Cluster = {
      ...cluster,
      patch: (reference, change) => {
        put(state.live as Live, other(FRESH))
        return patch(reference, change)
      },
    }
    await expect(withLease(faster, 'acme', signal, async () => {})).rejects.toThrow('another deploy by ada@elsewhere')
  })

  test('is renewed for as long as the work runs, also after the API server did not answer for a while', async () => {
    const { cluster, state } = fakeCluster()
    await withLease(cluster, 'acme', signal, async held => {
      state.answers = false
      await vi.advanceTimersByTimeAsync(40_000)
      state.answers = true
      await vi.advanceTimersByTimeAsync(10_000)
      expect(state.live?.spec.renewTime).toBe('2026-01-01T10:00:45.000000Z')
      expect(held.aborted).toBe(false)
    })
  })

  test('that another has taken over stops the work, and stays with the other', async () => {
    const { cluster, state, put } = fakeCluster()
    const working = withLease(cluster, 'acme', signal, async held => {
      put(state.live as Live, other(FRESH))
      await vi.advanceTimersByTimeAsync(15_000)
      held.throwIfAborted()
    })
    await expect(working).rejects.toThrow('another deploy by ada@elsewhere')
    expect(state.live?.spec.holderIdentity).toBe('ada@elsewhere (process 7)')
  })

  test('leaves an interrupted run what it was', async () => {
    const { cluster } = fakeCluster()
    const interrupt = new AbortController()
    const working = withLease(cluster, 'acme', interrupt.signal, async held => {
      interrupt.abort(new Error('interrupted'))
      held.throwIfAborted()
    })
    await expect(working).rejects.toThrow('interrupted')
  })
})
