import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Manifest } from '../../../../infra/kit/objects/manifest.ts'
import { loadSettings } from '../../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../../infra/kit/synth/synth.ts'
import type { Live } from '../../../../scripts/cluster/cluster.ts'
import { ApiError } from '../../../../scripts/cluster/rest.ts'
import { type Check, NotHere, runChecks } from '../../../../scripts/doctor/check.ts'
import { networkChecks } from '../../../../scripts/doctor/checks/network.ts'
import { allows } from '../../../../scripts/doctor/expected-traffic.ts'
import { probe } from '../../../../scripts/doctor/probe.ts'
import { toRun } from '../../../../scripts/remedy.ts'
import { EXISTING, images, project, system } from '../../../support/acme.ts'
import { contextOf, type FakeCluster, fakeCluster, podOf, runCheck, skipPauses } from '../../../support/fake-cluster.ts'

const PROGRAMS: [name: string, namespace: string, ports: number[]][] = [
  ['hello', 'acme', [8_080, 9_090, 8_888]],
  ['stock', 'acme', [8_081, 8_091, 9_090, 8_888]],
  ['booking', 'acme', [8_082, 9_090, 8_888]],
  ['postgres', 'acme', [5_432]],
  ['traefik', 'ingress', [8_000, 8_443, 8_080]],
  ['prometheus', 'observability', [9_090]],
  ['prometheus-operator', 'observability', [8_080]],
  ['alertmanager', 'observability', [9_093]],
  ['jaeger', 'observability', [4_317, 16_686, 8_888]],
  ['grafana', 'observability', [3_000]],
]
/** Each of them, and a stranger in each namespace and in another. */
const LOOKING = PROGRAMS.length + 4
const PORTS = PROGRAMS.flatMap(([, , ports]) => ports)

/** How many pairs of a program and a port the checks have judged: all of them, each by one check. */
const pairsOf = (said: readonly string[]): number => said.reduce((sum, line) => sum + Number(/: (\d+) (?:connect|pairs)/.exec(line)?.[1] ?? 0), 0)

const isProbe = ({ kind, metadata }: { kind: string; metadata: { name: string } }) => kind === 'Pod' && metadata.name.startsWith('probe-')
const probesIn = ({ objects }: FakeCluster) => [...objects.values()].filter(isProbe)
const scriptOf = ({ spec }: Live): string => spec.containers[0].command[2]

interface Network {
  /** Whether policies are kept. @default true */
  enforced?: boolean
  /** Names that the DNS does not know. */
  lost?: (name: string) => boolean
}

/** acme on a network that does what the policies there say, with a DNS. */
function clusterWith({ enforced = true, lost = () => false }: Network = {}): FakeCluster {
  const fake = fakeCluster()
  for (const [index, [name, namespace, ports]] of PROGRAMS.entries()) fake.put(podOf(name, { namespace, ports, address: `10.0.0.${index}` }))
  fake.logs = pod => {
    const live = [...fake.objects.values()]
    const policies = enforced ? (live.filter(({ kind }) => kind === 'NetworkPolicy') as unknown as Manifest[]) : []
    const endOf = ({ metadata }: Live) => ({ namespace: metadata.namespace as string, labels: metadata.labels })
    const endpoints = [...scriptOf(pod).matchAll(/^(\d+) (10\.\S+) (\d+)$/gm)].filter(([, , address, port]) => {
      const callee = live.find(({ status }) => status?.podIP === address) as Live
      return allows(policies, endOf(pod), endOf(callee), Number(port))
    })
    const names = [...scriptOf(pod).matchAll(/^(\d+) (\S+\.svc)$/gm)].filter(([, , name = '']) => !lost(name))
    return [...endpoints.map(([, index]) => `open ${index}`), ...names.map(([, index]) => `found ${index}`), 'done'].join('\n')
  }
  return fake
}

const run = (fake: FakeCluster, name: string, more = {}) => runCheck(networkChecks(contextOf(fake, more)), name)

const foreign = (name: string, namespace: string, spec: object) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace },
  spec,
})

/** The system on a cluster that brings what it is told to. */
function attachedTo(env: Record<string, string>) {
  const settings = loadSettings(env, system)
  const { own, platform } = synthesize({ ...project, settings, images })
  return { settings, manifests: [...platform, ...own] }
}

describe('the checks of the network', () => {
  const runAll = (checks: readonly Check[]) => Promise.all(checks.map(async ({ name, run }) => `${name}: ${await run(new AbortController().signal)}`))

  test('find the edges of the graph open and everything else closed, with one look from every program and from strangers', async () => {
    const fake = clusterWith()
    const said = await runAll(networkChecks(contextOf(fake)))
    expect(said).toEqual([
      'DNS: 6 names found from pods of 3 services',
      'edge booking -> stock: 1 connect',
      'edge booking -> hello: 1 connect',
      expect.stringMatching(/^edges to the platform: \d+ connect$/),
      expect.stringMatching(/^policies: \d+ pairs that are no edge are refused$/),
    ])
    expect(pairsOf(said)).toBe(LOOKING * PORTS.length)
    expect(fake.log.filter(line => line.startsWith('create'))).toHaveLength(LOOKING)
    expect(probesIn(fake)).toEqual([])
  })

  test('look at no namespace of a platform that somebody else runs', async () => {
    const fake = clusterWith()
    const attached = attachedTo(EXISTING)
    const said = await runAll(networkChecks(contextOf(fake, attached)))
    expect(said).toEqual([
      'DNS: 6 names found from pods of 3 services',
      'edge booking -> stock: 1 connect',
      'edge booking -> hello: 1 connect',
      // Two services have a database.
      'edges to the platform: 2 connect',
      expect.stringMatching(/^policies: \d+ pairs that are no edge are refused$/),
    ])
    const inside = PROGRAMS.filter(([, namespace]) => namespace === 'acme')
    expect(pairsOf(said)).toBe((inside.length + 1) * inside.flatMap(([, , ports]) => ports).length)
    expect([...new Set(fake.log.map(line => line.split(/[ /]/)[2]))]).toEqual(['acme'])
  })

  test('look at pods that are ready and stay, and not at ports of UDP', async () => {
    const fake = clusterWith()
    const leaving = podOf('stock', { name: 'stock-0', ports: [1], address: '10.0.1.1' })
    leaving.metadata.deletionTimestamp = '2026-01-01T00:00:00Z'
    fake.objects.delete('Pod acme/stock-a')
    fake.put(podOf('stock', { name: 'stock-1', ready: false, ports: [2], address: '10.0.1.2' }), leaving)
    const stock = podOf('stock', { name: 'stock-2', ports: [8_091], address: '10.0.1.3' })
    stock.spec.containers[0].ports.push({ containerPort: 53, protocol: 'UDP' })
    stock.spec.initContainers = [{ name: 'collector', ports: [{ containerPort: 8_888 }] }]
    fake.put(stock)
    const { logs } = fake
    let script = ''
    fake.logs = pod => {
      script = scriptOf(pod)
      return logs(pod)
    }
    await run(fake, 'edge booking -> stock')
    expect([...script.matchAll(/ (10\.0\.1\.\d+ \d+)$/gm)].map(([, endpoint]) => endpoint)).toEqual(['10.0.1.3 8888', '10.0.1.3 8091'])
  })
})

describe('an edge', () => {
  test.each(['booking', 'stock'])('is refused, for the policy of %s is gone', async name => {
    const fake = clusterWith()
    fake.objects.delete(`NetworkPolicy acme/${name}`)
    fake.objects.delete('NetworkPolicy acme/postgres')
    await expect(run(fake, 'edge booking -> stock')).rejects.toMatchObject({
      message: `acme/booking cannot connect to stock:8091; the cause: NetworkPolicy acme/${name}: not there`,
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })

  test('is refused, and all policies are as the graph gives them', async () => {
    const fake = clusterWith()
    fake.logs = () => 'done'
    await expect(run(fake, 'edge booking -> stock')).rejects.toMatchObject({
      message: 'acme/booking cannot connect to stock:8091',
      remedy: toRun('kubectl --context kind-test -n acme describe networkpolicy'),
    })
  })

  test('of gRPC is open at its port alone: whoever else reaches it is no edge, and HTTP from its caller is none either', async () => {
    const fake = clusterWith()
    const letsIn = (from: string, port: number) => ({
      podSelector: { matchLabels: { 'app.kubernetes.io/name': 'stock' } },
      policyTypes: ['Ingress'],
      ingress: [{ from: [{ podSelector: { matchLabels: { 'app.kubernetes.io/name': from } } }], ports: [{ port }] }],
    })
    const letsOut = { podSelector: {}, policyTypes: ['Egress'], egress: [{ ports: [{ port: 8_081 }, { port: 8_091 }] }] }
    fake.put(foreign('out', 'acme', letsOut), foreign('in', 'acme', letsIn('hello', 8_091)))
    await expect(run(fake, 'policies')).rejects.toThrow('acme/hello can connect to stock:8091; the cause: NetworkPolicy acme/out')
    fake.put(foreign('in', 'acme', letsIn('booking', 8_081)))
    await expect(run(fake, 'policies')).rejects.toThrow('acme/booking can connect to stock:8081; the cause: NetworkPolicy acme/out')
  })

  test('is not tried without a callee', async () => {
    const fake = clusterWith()
    fake.objects.delete('Pod acme/stock-a')
    await expect(run(fake, 'edge booking -> stock')).rejects.toMatchObject({
      message: 'the callee has no ready pod to try',
      remedy: toRun('npx fairlead status --context kind-test'),
    })
  })
})

describe('edges to the platform', () => {
  test('are refused, for a rule is missing', async () => {
    const fake = clusterWith()
    fake.edit('NetworkPolicy acme/stock', ({ spec }) => {
      spec.ingress = spec.ingress.filter(({ ports }: { ports: { port: number }[] }) => !ports.some(({ port }) => port === 9_090))
    })
    await expect(run(fake, 'edges to the platform')).rejects.toThrow(
      'observability/prometheus cannot connect to stock:9090, nor can 1 more pairs that the graph allows; the cause: NetworkPolicy acme/stock: spec.ingress has 2 entries, the graph says 3',
    )
    expect(await run(fake, 'edge booking -> stock')).toBe('1 connect')
  })

  test('are not tried where nothing of it is ours', async () => {
    const attached = attachedTo({ ...EXISTING, DATABASE: 'external', DATABASE_CIDR: '10.20.0.0/16' })
    await expect(run(clusterWith(), 'edges to the platform', attached)).rejects.toEqual(new NotHere('nothing of the platform is ours to try'))
  })
})

describe('policies', () => {
  test('are opened by one that is not of the graph', async () => {
    const fake = clusterWith()
    const toStock = { podSelector: { matchLabels: { 'app.kubernetes.io/name': 'stock' } }, policyTypes: ['Ingress'], ingress: [{}] }
    fake.put(foreign('let-me-in', 'acme', toStock), foreign('theirs', 'ingress', { podSelector: {}, policyTypes: [] }))
    await expect(run(fake, 'policies')).rejects.toMatchObject({
      message:
        'a stranger in default can connect to stock:8081, and 3 more pairs that are no edge can connect; the cause: NetworkPolicy acme/let-me-in: not of the graph',
      remedy: toRun('kubectl --context kind-test -n acme describe networkpolicy'),
    })
  })

  test('are opened by one that is not of the graph, beside one of the graph that is gone', async () => {
    const fake = clusterWith()
    const toStock = { podSelector: { matchLabels: { 'app.kubernetes.io/name': 'stock' } }, policyTypes: ['Ingress'], ingress: [{}] }
    fake.put(foreign('let-me-in', 'acme', toStock))
    for (const name of ['default-deny', 'stock']) fake.objects.delete(`NetworkPolicy acme/${name}`)
    await expect(run(fake, 'policies')).rejects.toThrow(
      /; the cause: NetworkPolicy acme\/let-me-in: not of the graph; NetworkPolicy acme\/default-deny: not there; NetworkPolicy acme\/stock: not there$/,
    )
  })

  test('are opened by one of the caller that is not of the graph', async () => {
    const fake = clusterWith()
    const fromStock = { podSelector: { matchLabels: { 'app.kubernetes.io/name': 'stock' } }, policyTypes: ['Egress'], egress: [{}] }
    fake.put(foreign('anywhere', 'acme', fromStock))
    await expect(run(fake, 'policies')).rejects.toThrow(
      'acme/stock can connect to traefik:8000, and 1 more pairs that are no edge can connect; the cause: NetworkPolicy acme/anywhere: not of the graph',
    )
  })

  test('are shown where the one is that is not of the graph', async () => {
    const fake = clusterWith()
    const toJaeger = { podSelector: { matchLabels: { 'app.kubernetes.io/name': 'jaeger' } }, policyTypes: ['Ingress'], ingress: [{}] }
    fake.put(foreign('let-me-in', 'observability', toJaeger))
    await expect(run(fake, 'policies')).rejects.toMatchObject({
      message: expect.stringMatching(/the cause: NetworkPolicy observability\/let-me-in: not of the graph$/),
      remedy: toRun('kubectl --context kind-test -n observability describe networkpolicy'),
    })
  })

  test('of the graph that are gone are named', async () => {
    const fake = clusterWith()
    for (const name of ['default-deny', 'stock', 'postgres']) fake.objects.delete(`NetworkPolicy acme/${name}`)
    fake.objects.delete('NetworkPolicy ingress/default-deny')
    await expect(run(fake, 'policies')).rejects.toMatchObject({
      message: expect.stringMatching(
        /and \d+ more pairs that are no edge can connect; the cause: NetworkPolicy ingress\/default-deny: not there; NetworkPolicy acme\/default-deny: not there; NetworkPolicy acme\/postgres: not there; and 1 more$/,
      ),
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })

  test('are not kept by the network', async () => {
    const kept = Number.parseInt(await run(clusterWith(), 'policies'), 10)
    await expect(run(clusterWith({ enforced: false }), 'policies')).rejects.toMatchObject({
      message: `ingress/traefik can connect to traefik:8000, and ${kept - 1} more pairs that are no edge can connect`,
      remedy: { advice: expect.stringMatching(/^does the network of this cluster enforce NetworkPolicies\?/) },
    })
  })
})

describe('DNS', () => {
  const coredns = (ready: boolean): Live => {
    const pod = podOf('coredns', { namespace: 'kube-system', ready })
    pod.metadata.labels['k8s-app'] = 'kube-dns'
    return pod
  }

  test('is down', async () => {
    const fake = clusterWith({ lost: () => true })
    fake.put(coredns(false))
    await expect(run(fake, 'DNS')).rejects.toMatchObject({
      message:
        'hello.acme.svc is not found from pods of hello, stock, booking: kube-system/coredns has no ready pod, so no name is found in the cluster',
      remedy: toRun('kubectl --context kind-test -n kube-system get deploy,pods -l k8s-app=kube-dns'),
    })
  })

  test('of somebody else than kube-dns is not looked for among its pods', async () => {
    const fake = clusterWith({ lost: () => true })
    fake.put(coredns(false))
    await expect(run(fake, 'DNS', attachedTo({ DNS: 'nodelocal' }))).rejects.toMatchObject({
      message: expect.stringMatching(/^hello\.acme\.svc is not found from pods of hello, stock, booking; the cause: NetworkPolicy /),
    })
  })

  test('does not know one name, for the Service is gone', async () => {
    const fake = clusterWith({ lost: name => name === 'booking-pods.acme.svc' })
    fake.put(coredns(true))
    fake.objects.delete('Service acme/booking-pods')
    await expect(run(fake, 'DNS')).rejects.toThrow(
      /^booking-pods\.acme\.svc is not found from pods of hello, stock, booking; the cause: Service acme\/booking-pods: not there$/,
    )
  })

  test('answers one service alone', async () => {
    const fake = clusterWith()
    fake.put(coredns(true))
    const { logs } = fake
    fake.logs = pod => (pod.metadata.labels['app.kubernetes.io/name'] === 'stock' ? 'done' : logs(pod))
    await expect(run(fake, 'DNS')).rejects.toMatchObject({
      message: 'hello.acme.svc is not found from pods of stock',
      remedy: toRun('kubectl --context kind-test -n kube-system logs -l k8s-app=kube-dns'),
    })
  })
})

describe('probe(cluster, identities, { endpoints, names })', () => {
  const endpoints = [
    { title: 'taken', address: '10.0.0.1', port: 80 },
    { title: 'refused', address: '10.0.0.1', port: 81 },
    { title: 'silent', address: '10.0.0.1', port: 82 },
    { title: 'closed a moment later', address: '10.0.0.1', port: 83 },
  ]
  const stranger = { namespace: 'acme' }

  /** Programs as they are in the image of the pod, which know what is open. */
  const stubs = {
    timeout: 'shift; exec "$@"',
    sleep: '',
    sed: 'echo cluster.local',
    // As busybox's: 1 when it cannot connect; 143 when it was stopped because nobody said anything.
    nc: 'case "$4" in 80) ;; 82) exit 143 ;; 83) mkdir "$0.asked" 2>/dev/null || exit 1 ;; *) exit 1 ;; esac',
    nslookup: '/bin/sleep 0.1; [ "$1" = stock.acme.svc.cluster.local ]',
  }

  test('sees by its shell script what takes connections once that does not change, and which names are known', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-probe-'))
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
    for (const [name, script] of Object.entries(stubs)) {
      writeFileSync(join(dir, name), `#!/bin/sh\n${script}\n`)
      chmodSync(join(dir, name), 0o755)
    }
    const fake = fakeCluster([])
    fake.logs = ({ spec }) => {
      const [shell, ...args] = spec.containers[0].command
      return execFileSync(shell, args, { encoding: 'utf8', env: { PATH: `${dir}:/usr/bin:/bin` }, timeout: 20_000 }).trim()
    }
    const [seen] = await probe(fake.cluster, [stranger], { endpoints, names: ['stock.acme.svc', 'gone.acme.svc'] })
    expect(seen).toEqual({ open: new Set(['taken', 'silent']), found: new Set(['stock.acme.svc']) })
  })

  test('tells the identities apart, and gives each what it saw', async () => {
    const fake = fakeCluster([])
    fake.logs = ({ metadata }) => (metadata.labels['app.kubernetes.io/name'] === 'booking' ? 'open 0\nopen 3\ndone' : 'found 0\ndone')
    const seen = await probe(fake.cluster, [stranger, { namespace: 'acme', name: 'booking' }], { endpoints, names: ['stock.acme.svc'] })
    expect(seen).toEqual([
      { open: new Set(), found: new Set(['stock.acme.svc']) },
      { open: new Set(['taken', 'closed a moment later']), found: new Set() },
    ])
  })

  test('starts pods that are never ready, end by themselves and have no rights', async () => {
    const fake = fakeCluster([])
    let pod: Live | undefined
    fake.logs = started => {
      pod = started
      return 'done'
    }
    await probe(fake.cluster, [{ namespace: 'acme', name: 'booking' }], { endpoints })
    expect(pod).toMatchObject({
      metadata: { namespace: 'acme', labels: { 'app.kubernetes.io/name': 'booking', 'fairlead.dev/probe': 'true' } },
      spec: {
        restartPolicy: 'Never',
        activeDeadlineSeconds: expect.any(Number),
        automountServiceAccountToken: false,
        containers: [{ readinessProbe: { exec: { command: ['false'] } } }],
      },
    })
    expect(fake.objects.size).toBe(0)
  })

  test('waits until every pod has said all', async () => {
    skipPauses()
    const fake = fakeCluster([])
    let looks = 0
    fake.logs = () => ['', 'open 1', 'open 0\ndone'][looks++] as string
    expect(await probe(fake.cluster, [stranger], { endpoints })).toEqual([{ open: new Set(['taken']), found: new Set() }])
  })

  test('names a pod that does not answer, and removes all of them', async () => {
    skipPauses()
    const fake = fakeCluster([])
    fake.logs = ({ metadata }) => (metadata.namespace === 'default' ? '' : 'done')
    await expect(probe(fake.cluster, [stranger, { namespace: 'default' }], { endpoints })).rejects.toMatchObject({
      name: 'CommandError',
      message: expect.stringMatching(/^probe pod default\/probe-[0-9a-f]{6}-1 has not answered in 90 s$/),
      remedy: toRun('kubectl --context kind-test -n default get events'),
    })
    expect(fake.objects.size).toBe(0)
  })

  /** Pods that never run, with a status. */
  function waitingFor(status: object): FakeCluster {
    skipPauses()
    const fake = fakeCluster([])
    const { create } = fake.cluster
    fake.cluster.create = pod => create({ ...pod, status } as never)
    return fake
  }
  const unscheduled = {
    conditions: [
      {
        type: 'PodScheduled',
        status: 'False',
        reason: 'Unschedulable',
        message: '0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available.',
      },
    ],
  }
  const pulling = { containerStatuses: [{ name: 'probe', image: 'busybox:1', ready: false, state: { waiting: { reason: 'ImagePullBackOff' } } }] }

  test('says within seconds that no node takes its pods', async () => {
    const fake = waitingFor(unscheduled)
    const startedAt = performance.now()
    await expect(probe(fake.cluster, [stranger], { endpoints })).rejects.toMatchObject({
      message: 'probe pods cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu',
      remedy: { advice: expect.stringContaining('make room on a node'), commands: ['kubectl --context kind-test describe nodes'] },
    })
    // On the clock that counts the pauses.
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    expect(fake.objects.size).toBe(0)
  })

  test('goes on when a node takes its pods after all', async () => {
    const fake = waitingFor(unscheduled)
    let looks = 0
    fake.logs = pod => {
      if (looks++ === 3) pod.status = {}
      return looks > 20 ? 'done' : ''
    }
    expect(await probe(fake.cluster, [stranger], { endpoints })).toHaveLength(1)
  })

  test('says that the image of its pods cannot be had', async () => {
    await expect(probe(waitingFor(pulling).cluster, [stranger], { endpoints })).rejects.toThrow(
      /^probe pod acme\/probe-\w+-0 does not start: ImagePullBackOff busybox:1$/,
    )
  })

  test('asks for next to nothing of a node', async () => {
    const fake = waitingFor({})
    fake.logs = ({ spec }) => {
      expect(spec.containers[0].resources.requests).toEqual({ cpu: '1m', memory: '8Mi' })
      return 'done'
    }
    await probe(fake.cluster, [stranger], { endpoints })
  })

  test('fails one check of the network; the others are skipped because of it', async () => {
    const fake = clusterWith()
    skipPauses()
    const { create } = fake.cluster
    fake.cluster.create = pod => create({ ...pod, status: unscheduled } as never)
    fake.logs = () => ''
    const results = await runChecks(networkChecks(contextOf(fake)), { signal: new AbortController().signal, show: () => {} })
    expect(results.map(({ outcome }) => outcome)).toEqual(['failed', 'skipped', 'skipped', 'skipped', 'skipped'])
    expect(results[0]?.message).toBe('probe pods cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu')
    expect(results[1]?.message).toBe(`the network could not be looked at: ${results[0]?.message}`)
  })

  test('removes its pods when it is interrupted', async () => {
    const fake = fakeCluster([])
    const signal = AbortSignal.abort(new Error('Ctrl-C'))
    await expect(probe(fake.cluster, [stranger], { endpoints, signal })).rejects.toThrow('Ctrl-C')
    expect([fake.log.length, fake.objects.size]).toEqual([2, 0])
  })

  test('skips what somebody may not do, and removes what there is', async () => {
    const fake = fakeCluster([])
    const { create } = fake.cluster
    fake.cluster.create = pod =>
      pod.metadata.namespace === 'default' ? Promise.reject(new ApiError(403, 'pods is forbidden: User "ada" cannot create')) : create(pod)
    await expect(probe(fake.cluster, [stranger, { namespace: 'default' }], { endpoints })).rejects.toEqual(
      new NotHere('the network cannot be looked at from inside: pods is forbidden: User "ada" cannot create'),
    )
    expect(fake.objects.size).toBe(0)
  })

  test('removes its pods when one of them is refused', async () => {
    const fake = fakeCluster([])
    const { create } = fake.cluster
    // The other one is made only after the first was refused.
    const late = () => pause(20)
    fake.cluster.create = pod => (pod.metadata.namespace === 'default' ? Promise.reject(new Error('quota')) : late().then(() => create(pod)))
    await expect(probe(fake.cluster, [{ namespace: 'default' }, stranger], { endpoints })).rejects.toMatchObject({ name: 'Error', message: 'quota' })
    expect(fake.objects.size).toBe(0)
  })

  test('sweeps up what a killed run has left, and leaves alone what another one uses and what is not its own', async () => {
    const fake = fakeCluster([podOf('booking'), podOf('booking', { name: 'probe-killed' }), podOf('booking', { name: 'probe-other' })])
    for (const name of ['probe-killed', 'probe-other'])
      fake.edit(`Pod acme/${name}`, ({ metadata }) => Object.assign(metadata.labels, { 'fairlead.dev/probe': 'true' }))
    fake.edit('Pod acme/probe-other', ({ metadata }) => Object.assign(metadata, { creationTimestamp: new Date(Date.now() - 60_000).toISOString() }))
    fake.logs = () => 'done'
    await probe(fake.cluster, [stranger], { endpoints })
    expect([...fake.objects.keys()]).toEqual(['Pod acme/booking-a', 'Pod acme/probe-other'])
  })
})
