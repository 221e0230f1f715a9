import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Cluster, Live } from '../../../scripts/cluster/cluster.ts'
import { describeState, followRollouts, programOf, progressOf, reasonOfPod, stateOf, workloadsOf } from '../../../scripts/cluster/rollout.ts'
import { toRun } from '../../../scripts/remedy.ts'
import { skipPauses } from '../../support/fake-cluster.ts'

const deployment = (status: object, { replicas = 2, generation = 3 } = {}): Live => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'booking', namespace: 'acme', generation },
  spec: { replicas, selector: { matchLabels: { 'app.kubernetes.io/name': 'booking' } } },
  status,
})
const whole = { observedGeneration: 3, replicas: 2, updatedReplicas: 2, readyReplicas: 2 }

describe('a workload', () => {
  test.each<[string, object, boolean]>([
    ['every pod is new and ready', whole, true],
    ['the controller has not seen the change', { ...whole, observedGeneration: 2 }, false],
    ['a pod of the old template is left', { ...whole, replicas: 3 }, false],
    ['a pod is still of the old template', { ...whole, updatedReplicas: 1 }, false],
    ['a pod is not ready', { ...whole, readyReplicas: 1 }, false],
    ['nothing has started', {}, false],
  ])('when %s', (_, status, done) => {
    expect(progressOf(deployment(status)).done).toBe(done)
  })

  test('of a DaemonSet counts nodes', () => {
    const status = { observedGeneration: 1, desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberReady: 2 }
    const set = { ...deployment(status, { generation: 1 }), kind: 'DaemonSet' }
    expect(progressOf(set)).toMatchObject({ ready: 2, desired: 3, done: false })
  })
})

const pod = (status: object): Live => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'booking-x', namespace: 'acme' }, status })
const container = (state: object, more: object = {}) => ({
  name: 'booking',
  image: 'registry.example/booking:1.0.0',
  ready: false,
  restartCount: 0,
  state,
  ...more,
})

describe('the reason of a pod', () => {
  test.each<[string, object, object | undefined]>([
    [
      'no node for it',
      { conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes: insufficient cpu. preemption: none' }] },
      { text: 'Unschedulable: 0/1 nodes: insufficient cpu. preemption: none', unscheduled: '0/1 nodes: insufficient cpu' },
    ],
    [
      'an image that cannot be pulled',
      { containerStatuses: [container({ waiting: { reason: 'ImagePullBackOff', message: 'Back-off' } })] },
      { text: 'ImagePullBackOff registry.example/booking:1.0.0', container: 'booking' },
    ],
    [
      'a crash loop',
      {
        containerStatuses: [container({ waiting: { reason: 'CrashLoopBackOff' } }, { restartCount: 3, lastState: { terminated: { exitCode: 1 } } })],
      },
      { text: 'booking ended with 1, 3 restarts', container: 'booking', crashed: true },
    ],
    [
      'too much memory',
      { containerStatuses: [container({ running: {} }, { restartCount: 1, lastState: { terminated: { exitCode: 137, reason: 'OOMKilled' } } })] },
      { text: 'booking was killed for using too much memory, 1 restarts', container: 'booking', crashed: true },
    ],
    [
      'a missing secret',
      { containerStatuses: [container({ waiting: { reason: 'CreateContainerConfigError', message: 'secret "stock-database" not found' } })] },
      { text: 'CreateContainerConfigError: secret "stock-database" not found', container: 'booking' },
    ],
    [
      'a migration that failed',
      {
        initContainerStatuses: [{ ...container({ terminated: { exitCode: 1 } }), name: 'migrate' }],
        containerStatuses: [container({ waiting: { reason: 'PodInitializing' } })],
      },
      { text: 'migrate ended with 1, 0 restarts', container: 'migrate', crashed: true },
    ],
    [
      'nothing of a container that ended before and is ready now',
      { initContainerStatuses: [container({ running: {} }, { ready: true, restartCount: 2, lastState: { terminated: { exitCode: 1 } } })] },
      undefined,
    ],
    ['nothing: it starts', { containerStatuses: [container({ waiting: { reason: 'ContainerCreating' } })] }, undefined],
    ['nothing: its migration is done', { initContainerStatuses: [container({ terminated: { exitCode: 0 } })] }, undefined],
  ])('%s', (_, status, reason) => {
    expect(reasonOfPod(pod(status))).toEqual(reason)
  })
})

const stuck = pod({ containerStatuses: [container({ waiting: { reason: 'CrashLoopBackOff' } }, { lastState: { terminated: { exitCode: 1 } } })] })
const fake = (live: () => Live | undefined, pods: Live[] = [stuck], events: object[] = []) =>
  ({
    context: 'kind-test',
    read: async () => live(),
    list: async (_: string, kind: string) => (kind === 'Pod' ? pods : events),
    logTail: async () => 'stock cannot start: AUTH_ISSUER is missing',
  }) as unknown as Cluster

const booking = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'booking', namespace: 'acme' } }

describe('following rollouts', () => {
  test('says how many are ready, which pod is not, why, and its last words', async () => {
    const state = await stateOf(
      fake(() => deployment({ ...whole, readyReplicas: 1 })),
      booking,
    )
    expect(describeState(state)).toBe(
      'booking: 1/2 ready, pod booking-x: booking ended with 1, 0 restarts: stock cannot start: AUTH_ISSUER is missing',
    )
  })

  test('falls back to the newest warning about the pod', async () => {
    const event = {
      type: 'Warning',
      reason: 'Unhealthy',
      message: 'Readiness probe failed',
      involvedObject: { name: 'booking-x' },
      lastTimestamp: '2026-01-02T00:00:00Z',
    }
    const older = { ...event, message: 'older', lastTimestamp: '2026-01-01T00:00:00Z' }
    const other = { ...event, involvedObject: { name: 'stock-x' }, lastTimestamp: '2026-01-03T00:00:00Z' }
    const state = await stateOf(
      fake(() => deployment({}), [pod({})], [older, event, other]),
      booking,
    )
    expect(state.reason).toBe('pod booking-x: Unhealthy: Readiness probe failed')
  })

  test.each<[string, number, object, string]>([
    ['starts, as long as its startup probe allows', 5, {}, 'starts'],
    ['is unhealthy once that is over', 61, {}, 'Unhealthy: Startup probe failed: connection refused'],
    ['is unhealthy when it had started', 5, { started: true }, 'Unhealthy: Startup probe failed: connection refused'],
  ])('a pod whose startup probe has not passed %s', async (_, ageSeconds, more, reason) => {
    const event = { type: 'Warning', reason: 'Unhealthy', message: 'Startup probe failed: connection refused', involvedObject: { name: 'booking-x' } }
    const running = { startedAt: new Date(Date.now() - ageSeconds * 1_000).toISOString() }
    const starting = {
      ...pod({ containerStatuses: [container({ running }, more)] }),
      spec: { containers: [{ name: 'booking', startupProbe: { periodSeconds: 2, failureThreshold: 30 } }] },
    }
    const state = await stateOf(
      fake(() => deployment({}), [starting], [event]),
      booking,
    )
    expect(state.reason).toBe(`pod booking-x: ${reason}`)
    expect(state.starts).toBe(reason === 'starts' ? true : undefined)
  })

  test('prints a line, of 300 characters at most, only when other workloads are waited for', async () => {
    skipPauses()
    const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    onTestFinished(() => written.mockRestore())
    const stock = { ...booking, metadata: { ...booking.metadata, name: 'stock' } }
    let looks = 0
    const cluster = {
      ...fake(() => undefined, [{ ...stuck, metadata: { ...stuck.metadata, name: 'x'.repeat(400) } }]),
      read: async ({ metadata: { name } }: Live) => {
        if (name === 'booking') looks++
        const ready = looks > 6 || (looks > 3 && name === 'stock') ? whole : { ...whole, readyReplicas: looks % 2 }
        return { ...deployment(ready), metadata: { name, namespace: 'acme', generation: 3 } }
      },
    } as unknown as Cluster
    await followRollouts(cluster, [booking, stock], { timeoutMs: 60_000, signal: new AbortController().signal })
    const lines = written.mock.calls.map(([text]) => String(text))
    expect(lines.map(line => line.length <= 301)).toEqual([true, true])
  })

  test('ends when all are done', async () => {
    let asked = 0
    const states = [{}, whole]
    const cluster = fake(() => deployment(states[Math.min(asked++, 1)] as object))
    await followRollouts(cluster, [booking], { timeoutMs: 10_000, signal: new AbortController().signal })
    expect(asked).toBeGreaterThan(1)
  })

  test('fails at the deadline with the last thing seen and a command', async () => {
    const failed = followRollouts(
      fake(() => deployment({ ...whole, readyReplicas: 1 })),
      [booking],
      { timeoutMs: 0, signal: new AbortController().signal },
    )
    await expect(failed).rejects.toMatchObject({
      message: expect.stringMatching(/^not ready after 0 s:\n {2}booking: 1\/2 ready, pod booking-x: booking ended with 1/),
      remedy: toRun('kubectl --context kind-test -n acme describe deployment booking'),
    })
  })

  test('does not wait for what is optional', async () => {
    await followRollouts(
      fake(() => undefined),
      [booking],
      { timeoutMs: 0, signal: new AbortController().signal, optional: ['booking'] },
    )
  })
})

test('workloads are found, and those that an operator makes', () => {
  const kinds = ['Deployment', 'Service', 'StatefulSet', 'Prometheus', 'Alertmanager', 'ConfigMap']
  const references = kinds.map(kind => ({ apiVersion: 'apps/v1', kind, metadata: { name: 'x', namespace: 'n' } }))
  expect(workloadsOf(references).map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
    'Deployment x',
    'StatefulSet x',
    'StatefulSet prometheus-x',
    'StatefulSet alertmanager-x',
  ])
})

test.each([
  ['Deployment', 'pre-booking', 'pre-booking'],
  ['Deployment', 'prometheus-operator', 'prometheus-operator'],
  ['StatefulSet', 'prometheus-prometheus', 'prometheus'],
  ['StatefulSet', 'alertmanager-main', 'main'],
  ['StatefulSet', 'postgres', 'postgres'],
])('%s %s runs %s', (kind, name, program) => {
  expect(programOf({ apiVersion: 'apps/v1', kind, metadata: { name } })).toBe(program)
})
