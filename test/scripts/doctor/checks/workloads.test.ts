import { describe, expect, test } from 'vitest'
import type { Live } from '../../../../scripts/cluster/cluster.ts'
import { workloadChecks } from '../../../../scripts/doctor/checks/workloads.ts'
import { toRun } from '../../../../scripts/remedy.ts'
import {
  breakCollector,
  contextOf,
  type FakeCluster,
  fakeCluster,
  LONG_AGO,
  manifests,
  podOf,
  runCheck,
  skipPauses,
} from '../../../support/fake-cluster.ts'

const run = (fake: FakeCluster, name: string, signal?: AbortSignal) => runCheck(workloadChecks(contextOf(fake)), name, signal)

const keeping = (kind: string, name: string) => ({ apiVersion: 'v1', kind, metadata: { name, namespace: 'acme' } })
const secrets = [
  'seals',
  'postgres',
  'postgres-roles',
  'postgres-tls',
  'stock-database',
  'stock-database-owner',
  'booking-database',
  'booking-database-owner',
].map(name => keeping('Secret', name))

/** A cluster that has also what is not of the graph. */
function wholeCluster(): FakeCluster {
  const fake = fakeCluster()
  fake.put(...secrets, keeping('ConfigMap', 'workload-issuer'), keeping('ConfigMap', 'issuer-stand-in'))
  return fake
}

test('every workload has a check, and those that an operator makes', () => {
  const names = workloadChecks(contextOf(fakeCluster())).map(({ name }) => name)
  expect(names.filter(name => name.startsWith('pods of ')).sort()).toEqual(
    [
      'alertmanager-alertmanager',
      'booking',
      'grafana',
      'hello',
      'jaeger',
      'metrics-server',
      'postgres',
      'prometheus-operator',
      'prometheus-prometheus',
      'stock',
      'traefik',
    ].map(name => `pods of ${name}`),
  )
  expect(names.filter(name => name.startsWith('autoscaler'))).toEqual(['autoscaler of hello', 'autoscaler of stock', 'autoscaler of booking'])
})

describe('images', () => {
  const waiting = (name: string, reason: string, image: string) => ({ name, image, state: { waiting: { reason } } })

  test('are had by every pod of every workload, and are those of the sources', async () => {
    const fake = fakeCluster()
    const elsewhere = podOf('other', { namespace: 'elsewhere' })
    elsewhere.status.containerStatuses = [waiting('other', 'ImagePullBackOff', 'other:1')]
    const starting = podOf('stock', { ready: false })
    starting.status.containerStatuses = [waiting('stock', 'ContainerCreating', 'registry.example/stock:1.0.0')]
    fake.put(podOf('booking'), starting, podOf('jaeger', { namespace: 'observability' }), elsewhere)
    expect(await run(fake, 'images')).toBe('of 3 pods')
  })

  test.each(['ErrImagePull', 'ImagePullBackOff', 'ErrImageNeverPull', 'InvalidImageName'])('are not had by a node: %s', async reason => {
    const fake = fakeCluster()
    const pod = podOf('jaeger', { namespace: 'observability', ready: false })
    pod.status.initContainerStatuses = [waiting('collector', reason, 'jaeger:gone')]
    fake.put(pod)
    fake.objects.delete('Deployment observability/grafana')
    await expect(run(fake, 'images')).rejects.toMatchObject({
      message: `the node of pod observability/jaeger-a cannot get jaeger:gone (${reason})`,
      remedy: toRun('kubectl --context kind-test -n observability describe pod jaeger-a', 'npx fairlead deploy --context kind-test'),
    })
  })

  test('are not had, for the Deployment names others', async () => {
    const fake = fakeCluster()
    const pod = podOf('booking', { ready: false })
    pod.status.containerStatuses = [waiting('booking', 'ErrImagePull', 'fairlead/booking:gone')]
    fake.put(pod)
    fake.edit('Deployment acme/booking', ({ spec }) => {
      spec.template.spec.containers[0].image = 'fairlead/booking:gone'
    })
    await expect(run(fake, 'images')).rejects.toThrow(
      'the node of pod acme/booking-a cannot get fairlead/booking:gone (ErrImagePull); the cause: Deployment acme/booking: spec.template.spec.containers.0.image is "fairlead/booking:gone", the graph says "registry.example/booking:1.0.0"',
    )
  })

  test("are nobody's while there is no Deployment", async () => {
    const fake = fakeCluster()
    fake.objects.delete('Deployment acme/booking')
    expect(await run(fake, 'images')).toBe('of 0 pods')
  })

  test('are of other sources than these: that is told, and no trouble', async () => {
    const fake = fakeCluster()
    fake.edit('Deployment acme/booking', ({ spec }) => {
      spec.template.spec.containers[0].image = 'fairlead/booking:0'
    })
    expect(await run(fake, 'images')).toBe(
      'of 0 pods; booking runs fairlead/booking:0; the sources here give registry.example/booking:1.0.0, which a deploy would bring',
    )
  })
})

describe('mounted files', () => {
  test('are counted once, whoever mounts them, and are those that would be missed', async () => {
    const files = [...wholeCluster().objects.keys()].filter(name => /^(Secret|ConfigMap) /.test(name))
    const missed = await Promise.all(
      files.map(name => {
        const fake = wholeCluster()
        fake.objects.delete(name)
        return run(fake, 'mounted files').then(
          () => 0,
          () => 1,
        )
      }),
    )
    const count = missed.reduce<number>((sum, one) => sum + one, 0)
    expect(count).toBeGreaterThan(10)
    expect(await run(wholeCluster(), 'mounted files')).toBe(`${count} there`)
  })

  test.each([
    ['Secret', 'acme/booking-database', 'booking', 'npx fairlead secrets --context kind-test'],
    ['Secret', 'acme/postgres-roles', 'postgres', 'npx fairlead secrets --context kind-test'],
    ['ConfigMap', 'acme/workload-issuer', 'stock', 'npx fairlead deploy --context kind-test'],
    ['ConfigMap', 'observability/grafana-datasources', 'grafana', 'npx fairlead deploy --context kind-test'],
  ])('%s %s is missed by %s', async (kind, name, by, command) => {
    const fake = wholeCluster()
    fake.objects.delete(`${kind} ${name}`)
    await expect(run(fake, 'mounted files')).rejects.toMatchObject({
      message: `${kind} ${name}, which pods of ${by} mount, is not there: those that run go on, no new one starts`,
      remedy: toRun(command),
    })
  })

  test('that are optional are not missed', async () => {
    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'booking', namespace: 'acme' },
      spec: { template: { spec: { volumes: [{ secret: { secretName: 'a', optional: true } }, { configMap: { name: 'b', optional: true } }] } } },
    }
    const context = contextOf(fakeCluster([]), { manifests: [deployment] })
    expect(await runCheck(workloadChecks(context), 'mounted files')).toBe('0 there')
  })
})

const whole = { observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2 }

/** The Deployment of bookings in some state, with a pod that is not ready. */
function rollingOut(status: object, pod: object = {}): FakeCluster {
  const fake = fakeCluster()
  fake.edit('Deployment acme/booking', live => {
    Object.assign(live.metadata, { generation: 1 })
    Object.assign(live, { status })
    live.spec.replicas = 2
  })
  const starting = podOf('booking', { ready: false })
  fake.put({ ...starting, status: { ...starting.status, containerStatuses: [], ...pod } } as Live)
  return fake
}

const crashing = {
  containerStatuses: [
    {
      name: 'booking',
      image: 'registry.example/booking:1.0.0',
      restartCount: 4,
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: { exitCode: 1 } },
    },
  ],
}

describe('pods of a workload', () => {
  test('are counted when all are ready', async () => {
    expect(await run(rollingOut(whole), 'pods of booking')).toBe('2/2 ready')
  })

  test('that cannot start are told at once, with their last words and what is not as the graph gives it', async () => {
    const fake = rollingOut({ ...whole, readyReplicas: 1 }, crashing)
    fake.logs = () => 'booking cannot start: collector has no receiver'
    breakCollector(fake, 'booking')
    await expect(run(fake, 'pods of booking')).rejects.toMatchObject({
      message: expect.stringMatching(
        /^booking: 1\/2 ready, pod booking-a: booking ended with 1, 4 restarts: booking cannot start: collector has no receiver; the cause: Deployment acme\/booking: spec\.template\.spec\.initContainers\.0\.env\.4\.value is not what the graph says$/,
      ),
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })

  test("are nobody else's fault when all that they are made of is as the graph gives it", async () => {
    const fake = rollingOut({ ...whole, readyReplicas: 1 }, crashing)
    // Of another workload, of another namespace, and what no pod mounts.
    for (const name of ['Deployment acme/stock', 'ConfigMap observability/jaeger', 'ConfigMap acme/booking-dashboard']) fake.objects.delete(name)
    await expect(run(fake, 'pods of booking')).rejects.toMatchObject({
      message: 'booking: 1/2 ready, pod booking-a: booking ended with 1, 4 restarts',
      remedy: toRun('npx fairlead status --context kind-test'),
    })
  })

  test('are not the fault of a workload whose name is the end of theirs', async () => {
    const preBooking = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'pre-booking', namespace: 'acme' }, spec: {} }
    const fake = fakeCluster()
    fake.objects.delete('Deployment acme/booking')
    const checks = workloadChecks(contextOf(fake, { manifests: [...manifests, preBooking] }))
    await expect(runCheck(checks, 'pods of pre-booking')).rejects.toThrow(
      /^pre-booking: 0\/1 ready, is not there; the cause: Deployment acme\/pre-booking: not there$/,
    )
  })

  test('of an operator are blamed on what the operator makes them from', async () => {
    const fake = fakeCluster()
    fake.edit('Alertmanager observability/alertmanager', ({ spec }) => {
      spec.replicas = 0
    })
    await expect(run(fake, 'pods of alertmanager-alertmanager')).rejects.toThrow(
      'alertmanager-alertmanager: 0/1 ready, is not there; the cause: Alertmanager observability/alertmanager: spec.replicas is 0, the graph says 1',
    )
  })

  test('are not there when nobody has made the workload', async () => {
    const fake = fakeCluster()
    fake.objects.delete('Deployment acme/booking')
    await expect(run(fake, 'pods of booking')).rejects.toThrow('booking: 0/1 ready, is not there; the cause: Deployment acme/booking: not there')
  })

  test('that start are waited for', async () => {
    skipPauses()
    const fake = rollingOut({ ...whole, readyReplicas: 1 })
    let looks = 0
    const { read } = fake.cluster
    fake.cluster.read = reference => {
      if (++looks === 5) fake.edit('Deployment acme/booking', live => Object.assign(live.status, whole))
      return read(reference)
    }
    expect(await run(fake, 'pods of booking')).toBe('2/2 ready')
    expect(looks).toBe(5)
  })

  test('that start for too long are told', async () => {
    skipPauses()
    await expect(run(rollingOut({ ...whole, readyReplicas: 1 }), 'pods of booking')).rejects.toThrow(/^booking: 1\/2 ready, pod booking-a: starts$/)
  })

  test('are not those that look at the network with the same label, and are never ready', async () => {
    skipPauses()
    const fake = rollingOut({ ...whole, readyReplicas: 1 })
    const looking = podOf('booking', { name: 'looking', ready: false })
    looking.metadata.labels['fairlead.dev/probe'] = 'true'
    const starting = fake.objects.get('Pod acme/booking-a') as Live
    fake.objects.delete('Pod acme/booking-a')
    const involvedObject = { name: 'looking' }
    fake.put(looking, starting, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'looking.1', namespace: 'acme' },
      ...{ type: 'Warning', reason: 'Unhealthy', message: 'Readiness probe failed', involvedObject },
    })
    await expect(run(fake, 'pods of booking')).rejects.toThrow(/^booking: 1\/2 ready, pod booking-a: starts$/)
  })

  test('are not waited for once it is interrupted', async () => {
    await expect(run(rollingOut({ ...whole, readyReplicas: 1 }), 'pods of booking', AbortSignal.abort(new Error('Ctrl-C')))).rejects.toThrow('Ctrl-C')
  })
})

describe('autoscaler of a service', () => {
  const scaling = (...conditions: object[]) => {
    const fake = fakeCluster()
    fake.edit('HorizontalPodAutoscaler acme/booking', live => Object.assign(live, { status: { currentReplicas: 3, conditions } }))
    return fake
  }

  test('tells its bounds when it works', async () => {
    const able = { type: 'AbleToScale', status: 'False' }
    expect(await run(scaling(able, { type: 'ScalingActive', status: 'True' }), 'autoscaler of booking')).toBe('3 pods of 2 to 6')
  })

  test('is waited for while its metrics come, and then tells why it does not', async () => {
    skipPauses()
    const fake = scaling({ type: 'ScalingActive', status: 'False', message: 'unable to get metrics for resource cpu' })
    await expect(run(fake, 'autoscaler of booking')).rejects.toMatchObject({
      message: 'nothing adds pods under load: unable to get metrics for resource cpu',
      remedy: toRun('kubectl --context kind-test get apiservice v1beta1.metrics.k8s.io'),
    })
    const { read } = fake.cluster
    let looks = 0
    fake.cluster.read = async reference => {
      if (++looks === 3) fake.edit('HorizontalPodAutoscaler acme/booking', live => Object.assign(live.status.conditions[0], { status: 'True' }))
      return read(reference)
    }
    expect(await run(fake, 'autoscaler of booking')).toBe('3 pods of 2 to 6')
  })

  test.each([
    ['that is new', { metadata: { creationTimestamp: new Date().toISOString() } }, {}],
    ['whose pods are all new', { metadata: { creationTimestamp: LONG_AGO } }, { lastTransitionTime: new Date().toISOString() }],
  ])('%s is waited for as long as metrics need', async (_, { metadata }, condition) => {
    skipPauses()
    const fake = scaling({ type: 'ScalingActive', status: 'False', message: 'no metrics yet', ...condition })
    fake.edit('HorizontalPodAutoscaler acme/booking', live => Object.assign(live.metadata, metadata))
    const { read } = fake.cluster
    const startedAt = performance.now()
    fake.cluster.read = async reference => {
      // Half a minute after `npx fairlead up`, and another after that.
      if (performance.now() - startedAt > 60_000)
        fake.edit('HorizontalPodAutoscaler acme/booking', live => Object.assign(live.status.conditions[0], { status: 'True' }))
      return read(reference)
    }
    expect(await run(fake, 'autoscaler of booking')).toBe('3 pods of 2 to 6')
  })

  test('that has had no metrics for long is not waited for as if it were new', async () => {
    skipPauses()
    const fake = scaling({ type: 'ScalingActive', status: 'False', message: 'no metrics', lastTransitionTime: LONG_AGO })
    const startedAt = performance.now()
    await expect(run(fake, 'autoscaler of booking')).rejects.toThrow('nothing adds pods under load: no metrics')
    expect(performance.now() - startedAt).toBeLessThan(60_000)
  })

  test('that nobody has looked at is told as such', async () => {
    skipPauses()
    await expect(run(scaling(), 'autoscaler of booking')).rejects.toThrow('nothing adds pods under load: it has not been looked at yet')
  })

  test('is not there', async () => {
    skipPauses()
    const fake = fakeCluster()
    fake.objects.delete('HorizontalPodAutoscaler acme/booking')
    await expect(run(fake, 'autoscaler of booking')).rejects.toMatchObject({
      message: 'HorizontalPodAutoscaler booking is not there: nothing adds pods under load',
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })
})
