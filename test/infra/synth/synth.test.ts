import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { podSpecs } from '../../../infra/kit/checks/objects.ts'
import { publicPaths } from '../../../infra/kit/constructs/public-paths.ts'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { parseQuantity } from '../../../infra/kit/objects/quantity.ts'
import { pinned } from '../../../infra/kit/settings/images.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { type Contract, defineContract } from '../../../services/chassis/contract/contract.ts'
import { defineService, type SystemDefinition } from '../../../services/chassis/contract/graph.ts'
import { booking, EXISTING, hello, images, project, stock, system } from '../../support/acme.ts'

const settings = loadSettings({}, system)
const tags = { ...images, invoice: 'registry.example/invoice:1.0.0' }
const build = (of: SystemDefinition = system, env: Record<string, string> = {}) =>
  synthesize({ ...project, system: of, settings: loadSettings(env, system), images: tags })
const { own, platform } = build()
const all = [...platform, ...own]

const keyOf = ({ kind, metadata }: Manifest) => `${kind} ${metadata.namespace ? `${metadata.namespace}/` : ''}${metadata.name}`
// biome-ignore lint/suspicious/noExplicitAny: tests read a few fields of many kinds
const find = (objects: readonly Manifest[], key: string): any => {
  const found = objects.find(object => keyOf(object) === key)
  if (!found) throw new Error(`there is no ${key} among ${objects.map(keyOf).join(', ')}`)
  return found
}

/** A third service, which calls booking: what a team would write. */
const invoice = defineService({
  name: 'invoice',
  port: 8083,
  contract: defineContract({
    getInvoice: {
      method: 'GET',
      path: '/invoices/{id}',
      params: z.object({ id: z.string() }),
      summary: 'An invoice',
      auth: 'user',
      responses: { 204: { description: 'It' } },
    },
  }),
  calls: [{ to: booking, mode: 'required', attemptTimeoutMs: 500 }],
  timeoutMs: 2_000,
  maxConcurrency: 10,
  slo: { availability: 0.99, latency: { thresholdMs: 500, objective: 0.99 } },
  scale: { min: 2, max: 3 },
})

describe('a third service with an edge', () => {
  const grown = build({ ...system, services: [...system.services, invoice] })

  test('adds its own objects and no other', () => {
    const added = [...grown.own, ...grown.platform].map(keyOf).filter(key => !all.map(keyOf).includes(key))
    expect(added.sort()).toEqual([
      'ConfigMap acme/invoice-dashboard',
      'Deployment acme/invoice',
      'HorizontalPodAutoscaler acme/invoice',
      'Ingress acme/invoice',
      'NetworkPolicy acme/invoice',
      'PodDisruptionBudget acme/invoice',
      'PrometheusRule acme/invoice',
      'Service acme/invoice',
      'Service acme/invoice-pods',
      'ServiceAccount acme/invoice',
      'ServiceMonitor acme/invoice',
    ])
  })

  test('changes only its callee, and what all services share', () => {
    const changed = all.filter(object => JSON.stringify(find([...grown.own, ...grown.platform], keyOf(object))) !== JSON.stringify(object)).map(keyOf)
    expect(changed.sort()).toEqual([
      'ConfigMap acme/overview-dashboard',
      'ConfigMap ingress/traefik',
      'ConfigMap observability/grafana-dashboards',
      'Deployment acme/booking',
      'Deployment observability/grafana',
      'NetworkPolicy acme/booking',
      'NetworkPolicy ingress/traefik',
      'NetworkPolicy observability/jaeger',
      'NetworkPolicy observability/prometheus',
    ])
  })

  test('lets it into its callee, with a token for that callee only', () => {
    const from = find(grown.own, 'NetworkPolicy acme/booking').spec.ingress[0]
    expect(from).toEqual({
      from: [{ podSelector: { matchLabels: { 'app.kubernetes.io/name': 'invoice' } } }],
      ports: [{ port: 8082, protocol: 'TCP' }],
    })
    const pod = find(grown.own, 'Deployment acme/invoice').spec.template.spec
    const identity = pod.volumes.find(({ name }: { name: string }) => name === 'identity')
    expect(identity.projected.sources.map(({ serviceAccountToken }: never) => serviceAccountToken)).toEqual([
      { path: 'booking', audience: 'booking.acme', expirationSeconds: 3_600 },
    ])
    const env = Object.fromEntries(pod.containers[0].env.map(({ name, value }: { name: string; value: string }) => [name, value]))
    expect(env.BOOKING_IDENTITY_FILE).toBe('/etc/fairlead/identity/booking')
    const callee = Object.fromEntries(
      find(grown.own, 'Deployment acme/booking').spec.template.spec.containers[0].env.map(({ name, value }: { name: string; value: string }) => [
        name,
        value,
      ]),
    )
    expect(callee.WORKLOAD_CALLERS).toBe('invoice')
  })

  test('lets nobody in who has no edge, and knows the keys of callers to come', () => {
    const alone = { ...system, services: [stock] }
    const objects = build(alone).own
    const pod = find(objects, 'Deployment acme/stock').spec.template.spec
    const names = pod.containers[0].env.map(({ name }: { name: string }) => name)
    expect(names).toContain('WORKLOAD_JWKS')
    expect(names).not.toContain('WORKLOAD_CALLERS')
    expect(pod.volumes).toContainEqual({ name: 'workload-issuer', configMap: { name: 'workload-issuer' } })
    expect(JSON.stringify(find(objects, 'NetworkPolicy acme/stock').spec.ingress)).not.toContain('booking')
  })

  test('has no migration and no way to a database without a database', () => {
    const pod = find(grown.own, 'Deployment acme/invoice').spec.template.spec
    expect(pod.initContainers.map(({ name }: { name: string }) => name)).toEqual(['collector'])
    expect(JSON.stringify(find(grown.own, 'NetworkPolicy acme/invoice'))).not.toContain('5432')
    expect(find(grown.own, 'ConfigMap acme/postgres-setup').data.databases).toMatch(/^stock stock \d+\nbooking booking \d+\n$/)
  })
})

describe('the pods of a service', () => {
  const { spec } = find(own, 'Deployment acme/stock')
  const pod = spec.template.spec

  test('start the collector, then migrate, then serve; and stop the other way round', () => {
    expect(pod.initContainers.map(({ name, restartPolicy }: { name: string; restartPolicy?: string }) => [name, restartPolicy])).toEqual([
      ['collector', 'Always'],
      ['migrate', undefined],
    ])
    expect(pod.containers.map(({ name }: { name: string }) => name)).toEqual(['stock'])
    expect(pod.initContainers[0].startupProbe.httpGet.port).toBe(13_133)
  })

  test('are replaced one by one, never fewer, and told late that they leave', () => {
    expect(spec.strategy.rollingUpdate).toEqual({ maxUnavailable: 0, maxSurge: 1 })
    expect(spec.replicas).toBeUndefined()
    expect(pod.containers[0].lifecycle.preStop).toEqual({ sleep: { seconds: 5 } })
  })

  test('have no secret in their environment: no variable has its value from a Secret, and what is called like one is a path', () => {
    const variables = podSpecs(own).flatMap(({ containers }) => containers.flatMap(({ env = [] }) => env))
    expect(variables.length).toBeGreaterThan(30)
    expect(variables.filter(({ valueFrom }) => valueFrom?.secretKeyRef)).toEqual([])
    const secret = variables.filter(({ name }) => /secret|password|key|token|jwt/i.test(name) && !/_(FILE|DIR)$/.test(name))
    expect(secret).toEqual([])
  })
})

describe('every pod', () => {
  const pods = podSpecs(all)

  test.each(pods.map(pod => [pod.where, pod] as const))('%s meets Pod Security restricted but for what is named', (where, { spec, containers }) => {
    const ports = containers.flatMap(({ ports: own = [] }) => own.flatMap(({ hostPort }) => hostPort ?? []))
    expect(ports).toEqual(where === 'Deployment traefik' ? [80, 443] : [])
    expect([spec.hostNetwork, spec.hostPID, spec.hostIPC]).toEqual([undefined, undefined, undefined])
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 10_001, seccompProfile: { type: 'RuntimeDefault' } })
    for (const { securityContext, resources, image, name } of containers) {
      expect(securityContext, name).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        runAsNonRoot: true,
        privileged: false,
        capabilities: { drop: ['ALL'] },
      })
      for (const kind of ['requests', 'limits'] as const)
        expect(Object.keys(resources?.[kind] ?? {}).sort(), name).toEqual(['cpu', 'ephemeral-storage', 'memory'])
      // Five files of 10 MiB are what the kubelet keeps of a log, and a file grows until it looks.
      expect(parseQuantity(String(resources?.limits?.['ephemeral-storage'])), name).toBeGreaterThanOrEqual(2 * 5 * 10 * 2 ** 20)
      expect([...Object.values(pinned), ...Object.values(tags)], name).toContain(image)
    }
    for (const volume of spec.volumes ?? []) expect(Object.keys(volume).filter(key => key === 'hostPath')).toEqual([])
  })

  test.each(pods.map(pod => [pod.where, pod] as const))('%s talks to the Kubernetes API only if it must', (where, { spec }) => {
    const may = ['Deployment traefik', 'Deployment prometheus-operator', 'Deployment metrics-server']
    expect(spec.automountServiceAccountToken).toBe(may.includes(where))
  })

  test('has a policy of its own, and its namespace denies the rest', () => {
    const policies = all.filter(({ kind }) => kind === 'NetworkPolicy').map(keyOf)
    for (const { metadata } of all.filter(({ kind }) => ['Deployment', 'StatefulSet', 'Prometheus', 'Alertmanager'].includes(kind)))
      expect(policies).toContain(`NetworkPolicy ${metadata.namespace}/${metadata.name}`)
    for (const namespace of ['acme', 'ingress', 'observability']) {
      expect(find(all, `NetworkPolicy ${namespace}/default-deny`).spec).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] })
    }
  })
})

describe('every object', () => {
  test('is there once, labelled, and in a namespace of ours', () => {
    expect(new Set(all.map(keyOf)).size).toBe(all.length)
    const wanted = ['component', 'instance', 'managed-by', 'name', 'part-of', 'version'].map(name => `app.kubernetes.io/${name}`)
    for (const object of all) {
      expect(Object.keys(object.metadata.labels ?? {}), keyOf(object)).toEqual(expect.arrayContaining(wanted))
      expect(['acme', 'ingress', 'observability', 'kube-system', undefined], keyOf(object)).toContain(object.metadata.namespace)
    }
    const kindsOf = (name: string) => own.filter(({ metadata }) => [name, `${name}-pods`].includes(metadata.name)).map(({ kind }) => kind)
    for (const { name } of system.services)
      expect(kindsOf(name).sort(), name).toEqual([
        'Deployment',
        'HorizontalPodAutoscaler',
        'Ingress',
        'NetworkPolicy',
        'PodDisruptionBudget',
        'PrometheusRule',
        'Service',
        'Service',
        'ServiceAccount',
        'ServiceMonitor',
      ])
  })

  test('holds no secret: the one Secret among them says that Alertmanager tells nobody', () => {
    const secrets = all.filter(({ kind }) => kind === 'Secret')
    expect(secrets.map(({ metadata }) => metadata.name)).toEqual(['alertmanager-alertmanager'])
    for (const { kind, metadata, ...rest } of secrets) expect(Object.keys(rest)).toEqual(['apiVersion', 'immutable', 'stringData'])
  })
})

const collectorConfigOf = (manifests: readonly Manifest[]): string =>
  find(manifests, 'Deployment acme/stock').spec.template.spec.initContainers[0].env.find(({ name }: { name: string }) => name === 'OTELCOL_CONFIG')
    .value

describe('settings', () => {
  test('the configuration of the collector is part of the pods, so that an undone rollout brings the old one back', () => {
    const volumes = find(build(system, {}).own, 'Deployment acme/stock').spec.template.spec.volumes
    expect(volumes.map(({ configMap }: { configMap?: { name: string } }) => configMap?.name).filter(Boolean)).toEqual(['workload-issuer'])
    expect(collectorConfigOf(build(system, {}).own)).not.toBe(collectorConfigOf(build(system, EXISTING).own))
  })

  test('an existing platform is attached to and not brought', () => {
    const attached = build(system, { ...EXISTING, MONITORING_LABELS: 'release=kps' })
    expect(attached.platform).toEqual([])
    expect(find(attached.own, 'ServiceMonitor acme/stock').metadata.labels).toMatchObject({ release: 'kps' })
    expect(find(attached.own, 'Ingress acme/stock').spec.ingressClassName).toBe('nginx')
    const peers = find(attached.own, 'NetworkPolicy acme/stock').spec.ingress.map(({ from }: { from: unknown[] }) => from)
    expect(peers).toContainEqual([{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'nginx' } } }])
    expect(collectorConfigOf(attached.own)).toContain('endpoint: tempo.tracing:4317')
  })

  test('the bundled database lets nobody in over the network without TLS', () => {
    const access: string = find(own, 'ConfigMap acme/postgres-setup').data['pg_hba.conf']
    expect(access.trim().split('\n')).toEqual(['local all all trust', 'hostssl all all all scram-sha-256'])
    const { args, volumeMounts } = find(own, 'StatefulSet acme/postgres').spec.template.spec.containers[0]
    expect(args).toContain('ssl=on')
    expect(args).toContain('hba_file=/etc/postgres-access/pg_hba.conf')
    expect(volumeMounts).toContainEqual({ name: 'tls', mountPath: '/etc/postgres-tls', readOnly: true })
  })

  test('an external database is reached by its address, and none is brought', () => {
    const external = build(system, { DATABASE: 'external', DATABASE_CIDR: '10.1.0.0/16' })
    expect(external.own.filter(({ metadata }) => metadata.name.startsWith('postgres'))).toEqual([])
    expect(JSON.stringify(find(external.own, 'NetworkPolicy acme/stock').spec.egress)).toContain('"ipBlock":{"cidr":"10.1.0.0/16"}')
  })

  test('an external database may have several addresses, and its own port', () => {
    const external = build(system, { DATABASE: 'external', DATABASE_CIDR: '10.1.0.0/16,2001:db8::/64', DATABASE_PORT: '6432' })
    const { egress } = find(external.own, 'NetworkPolicy acme/stock').spec
    for (const cidr of ['10.1.0.0/16', '2001:db8::/64'])
      expect(egress).toContainEqual({ to: [{ ipBlock: { cidr } }], ports: [{ port: 6_432, protocol: 'TCP' }] })
  })

  test.each([
    ['kind', true],
    ['other', false],
  ])('kubelets of %s are believed without a certificate of the cluster: %s', (CLUSTER, insecure) => {
    const { platform: objects } = build(system, { CLUSTER, PLATFORM: 'bundled' })
    const { args } = find(objects, 'Deployment kube-system/metrics-server').spec.template.spec.containers[0]
    expect(args.includes('--kubelet-insecure-tls')).toBe(insecure)
  })

  test('keys of the issuer come as a file, or by a URL that callees alone may reach', () => {
    const podOf = (objects: readonly Manifest[]) => find(objects, 'Deployment acme/stock').spec.template.spec
    const envOf = (objects: readonly Manifest[]) =>
      Object.fromEntries(podOf(objects).containers[0].env.map(({ name, value }: { name: string; value: string }) => [name, value]))
    expect(envOf(own).WORKLOAD_JWKS).toBe('/etc/fairlead/workload-issuer/jwks.json')
    const env = { WORKLOAD_JWKS: 'https://oidc.example.org/keys', WORKLOAD_JWKS_CIDR: '192.0.2.0/24' }
    const byUrl = build(system, env)
    expect(envOf(byUrl.own)).toMatchObject({ WORKLOAD_JWKS: env.WORKLOAD_JWKS })
    expect(envOf(byUrl.own)).not.toHaveProperty('WORKLOAD_JWKS_CA_FILE')
    expect(podOf(byUrl.own).volumes.map(({ name }: { name: string }) => name)).not.toContain('workload-issuer')
    const rule = { to: [{ ipBlock: { cidr: '192.0.2.0/24' } }], ports: [{ port: 443, protocol: 'TCP' }] }
    expect(find(byUrl.own, 'NetworkPolicy acme/stock').spec.egress).toContainEqual(rule)
    expect(find(byUrl.own, 'NetworkPolicy acme/booking').spec.egress).not.toContainEqual(rule)

    const vouched = build(system, { ...env, WORKLOAD_JWKS_CA: 'kube-root-ca.crt' })
    expect(envOf(vouched.own).WORKLOAD_JWKS_CA_FILE).toBe('/etc/fairlead/workload-issuer/ca.crt')
    expect(podOf(vouched.own).volumes).toContainEqual({ name: 'workload-issuer', configMap: { name: 'kube-root-ca.crt' } })
  })

  test('traces go outside over TLS, with headers from a Secret, to addresses that are said, and with an authority of ones own', () => {
    const { TRACING_NAMESPACE: _, ...others } = EXISTING
    const env = {
      ...others,
      OTLP_ENDPOINT: 'https://traces.example.org',
      OTLP_CIDR: '192.0.2.0/24,198.51.100.0/24',
      OTLP_HEADERS: 'x-api-key,authorization',
    }
    const { own: objects } = build(system, env)
    const collector = find(objects, 'Deployment acme/stock').spec.template.spec.initContainers[0]
    expect(parse(collectorConfigOf(objects)).exporters.otlp_grpc).toMatchObject({
      endpoint: 'traces.example.org:443',
      tls: { insecure: false },
      headers: Object.fromEntries(['x-api-key', 'authorization'].map(name => [name, expect.stringMatching(/^\$\{env:OTLP_HEADER_\w+\}$/)])),
    })
    expect(collector.env).toContainEqual({
      name: 'OTLP_HEADER_X_API_KEY',
      valueFrom: { secretKeyRef: { name: 'otlp-headers', key: 'x-api-key' } },
    })
    const { egress } = find(objects, 'NetworkPolicy acme/stock').spec
    for (const cidr of ['192.0.2.0/24', '198.51.100.0/24'])
      expect(egress).toContainEqual({ to: [{ ipBlock: { cidr } }], ports: [{ port: 443, protocol: 'TCP' }] })
    expect(JSON.stringify(egress)).not.toContain('4317')

    const { own: vouched } = build(system, { ...env, OTLP_CA: 'our-ca' })
    const pod = find(vouched, 'Deployment acme/stock').spec.template.spec
    expect(parse(collectorConfigOf(vouched)).exporters.otlp_grpc.tls).toEqual({ insecure: false, ca_file: '/etc/otelcol/ca/ca.crt' })
    expect(pod.volumes).toContainEqual({ name: 'otlp-ca', configMap: { name: 'our-ca' } })
    expect(pod.initContainers[0].volumeMounts).toEqual([{ name: 'otlp-ca', mountPath: '/etc/otelcol/ca', readOnly: true }])
    expect(pod.initContainers[1].volumeMounts.map(({ name }: { name: string }) => name)).not.toContain('otlp-ca')
  })

  test('every pod may ask who answers DNS, and for DNS alone', () => {
    const { own, platform: brought } = build(system, { DNS: 'nodelocal,app=coredns@dns' })
    const policies = [...own, ...brought].filter(
      (object): object is Manifest & { spec: { egress: object[] } } => object.kind === 'NetworkPolicy' && object.metadata.name !== 'default-deny',
    )
    expect(policies.length).toBeGreaterThan(7)
    for (const { metadata, spec } of policies) {
      expect(spec.egress[0], metadata.name).toEqual({
        to: [
          { ipBlock: { cidr: '169.254.20.10/32' } },
          { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'dns' } }, podSelector: { matchLabels: { app: 'coredns' } } },
        ],
        ports: [
          { port: 53, protocol: 'UDP' },
          { port: 53, protocol: 'TCP' },
        ],
      })
      expect(JSON.stringify(spec.egress.slice(1)), metadata.name).not.toMatch(/169\.254|coredns/)
    }
  })

  test('Alertmanager tells nobody, or those of a Secret that is no part of the manifests, and reaches them alone', () => {
    expect(find(platform, 'NetworkPolicy observability/alertmanager').spec.egress).toHaveLength(1)
    expect(find(platform, 'Alertmanager observability/alertmanager').spec).not.toHaveProperty('configSecret')
    const { platform: told } = build(system, { ALERTS_SECRET: 'receivers', ALERTS_TO: '192.0.2.0/24:443' })
    expect(told.filter(({ kind }) => kind === 'Secret')).toEqual([])
    expect(find(told, 'Alertmanager observability/alertmanager').spec.configSecret).toBe('receivers')
    expect(find(told, 'NetworkPolicy observability/alertmanager').spec.egress.slice(1)).toEqual([
      { to: [{ ipBlock: { cidr: '192.0.2.0/24' } }], ports: [{ port: 443, protocol: 'TCP' }] },
    ])
  })

  test('images that are not ours come from a mirror under their whole names, or each from where it is said', () => {
    const reference = `registry.example/collector@sha256:${'0'.repeat(64)}`
    const { platform: brought, own } = build(system, { IMAGE_MIRROR: 'mirror.example/copies', IMAGES: `collector=${reference}` })
    const used = new Set(podSpecs([...brought, ...own]).flatMap(({ containers }) => containers.map(({ image }) => image)))
    const operated = brought.filter(({ kind }) => ['Prometheus', 'Alertmanager'].includes(kind)) as unknown as {
      spec: { image: string; version: string }
    }[]
    expect([...used].sort()).toEqual([
      'mirror.example/copies/docker.io/grafana/grafana:12.3.0',
      'mirror.example/copies/docker.io/jaegertracing/jaeger:2.13.0',
      'mirror.example/copies/docker.io/library/postgres:17',
      'mirror.example/copies/docker.io/library/traefik:v3.6.12',
      'mirror.example/copies/quay.io/prometheus-operator/prometheus-operator:v0.85.0',
      'mirror.example/copies/registry.k8s.io/metrics-server/metrics-server:v0.9.0',
      images.booking,
      reference,
      images.hello,
      images.stock,
    ])
    expect(operated.map(({ spec }) => [spec.image, spec.version])).toEqual([
      ['mirror.example/copies/quay.io/prometheus/prometheus:v3.16.0', 'v3.16.0'],
      ['mirror.example/copies/quay.io/prometheus/alertmanager:v0.28.1', 'v0.28.1'],
    ])
  })

  test('an image by its digest alone keeps the version of the pinned one, which the operator goes by', () => {
    const { platform: brought } = build(system, { IMAGES: `prometheus=registry.example/prometheus@sha256:${'0'.repeat(64)}` })
    expect(find(brought, 'Prometheus observability/prometheus').spec.version).toBe('v3.16.0')
  })

  test('a Gateway has routes, which strip the deadline, and no Ingress', () => {
    const routed = build(system, { ROUTE: 'gateway', GATEWAY: 'public' })
    expect(routed.own.filter(({ kind }) => kind === 'Ingress')).toEqual([])
    const { spec } = find(routed.own, 'HTTPRoute acme/booking')
    expect(spec.parentRefs).toEqual([{ name: 'public', namespace: 'ingress' }])
    expect(spec.rules[0].filters[0].requestHeaderModifier.remove).toEqual(['x-request-timeout-ms'])
    expect(spec.rules[0].matches.map(({ path }: { path: object }) => path)).toEqual([
      { type: 'PathPrefix', value: '/bookings' },
      { type: 'Exact', value: '/openapi/booking.json' },
    ])
  })

  test('a Gateway of the bundled platform is served by the same entry points, and no Ingress is', () => {
    const { platform: objects } = build(system, { ROUTE: 'gateway' })
    const { spec } = find(objects, 'Gateway ingress/acme')
    expect(spec.gatewayClassName).toBe(find(objects, 'GatewayClass traefik').metadata.name)
    expect(spec.listeners.map(({ port, protocol }: { port: number; protocol: string }) => [port, protocol])).toEqual([
      [8_000, 'HTTP'],
      [8_443, 'HTTPS'],
    ])
    expect(spec.listeners[1].tls.certificateRefs).toEqual([{ group: '', kind: 'Secret', name: 'acme-tls' }])
    for (const { hostname, allowedRoutes } of spec.listeners) {
      expect(hostname).toBe('acme.localhost')
      expect(allowedRoutes.namespaces.selector.matchLabels).toEqual({ 'kubernetes.io/metadata.name': 'acme' })
    }
    const argsOf = (of: readonly Manifest[]): string[] => find(of, 'Deployment ingress/traefik').spec.template.spec.containers[0].args
    const withoutProvider = (args: string[]) => args.filter(arg => !arg.startsWith('--providers.kubernetes'))
    expect(withoutProvider(argsOf(objects))).toEqual(withoutProvider(argsOf(platform)))
    expect(argsOf(objects).filter(arg => arg.startsWith('--providers.kubernetes'))).toEqual([
      '--providers.kubernetesGateway=true',
      '--providers.kubernetesGateway.endpoint=http://127.0.0.1:6443',
      '--providers.kubernetesGateway.namespaces=acme,ingress',
    ])
    const readable = find(objects, 'Role acme/traefik').rules.flatMap(({ resources }: { resources: string[] }) => resources)
    expect(readable).toContain('httproutes')
    expect(readable).not.toContain('secrets')
    expect(objects.filter(({ kind }) => kind === 'IngressClass')).toEqual([])
    expect(platform.filter(({ kind }) => kind.startsWith('Gateway'))).toEqual([])
  })

  test('Grafana can be left out', () => {
    const without = build(system, { GRAFANA: 'false' }).platform
    expect(without.filter(({ metadata }) => metadata.name.startsWith('grafana'))).toEqual([])
    expect(platform.filter(({ metadata }) => metadata.name.startsWith('grafana'))).toHaveLength(7)
  })

  test.each([
    ['PLATFORM', 'mine'],
    ['ROUTE', 'dns'],
    ['MONITORING_LABELS', 'release'],
    ['INGRESS_IDLE_MS', '-1'],
    ['INGRESS_READ_MS', '0'],
    ['INGRESS_SOURCE_REQUESTS', '0'],
    ['HTTP', 'https'],
    ['HTTPS_PORT', '0'],
    ['TLS', 'letsencrypt'],
    ['API_SERVER', '10.96.0.1'],
    ['API_SERVER', 'kubernetes.default:443'],
    ['API_SERVER', '10.96.0.1:443,10.96.0.1:70000'],
    ['TRUSTED_PROXIES', '10.0.0.0'],
    ['TRUSTED_PROXIES', '10.0.0.0/33'],
    ['TRUSTED_PROXIES', '10.0.0.0/8,proxy'],
    ['GRAFANA', 'yes'],
  ])('%s=%s is refused by name', (name, value) => {
    expect(() => loadSettings({ [name]: value }, system)).toThrow(`${name} is wrong`)
  })
})

describe('the way in', () => {
  const pathsOf = (contract: Contract) => publicPaths(contract).map(({ path, type }) => `${type} ${path}`)

  test('is the contract without what is for workloads or internal, and a prefix only where a path has a parameter', () => {
    expect(pathsOf(hello.contract)).toEqual(['Exact /greetings', 'Exact /greetings/latest', 'Prefix /hello'])
    expect(pathsOf(stock.contract)).toEqual(['Prefix /items', 'Exact /openapi/stock.json'])
    expect(pathsOf(booking.contract)).toEqual(['Prefix /bookings', 'Exact /openapi/booking.json'])
    const paths = find(own, 'Ingress acme/booking').spec.rules[0].http.paths
    expect(paths.map(({ path, pathType }: { path: string; pathType: string }) => `${pathType} ${path}`)).toEqual(pathsOf(booking.contract))
  })

  test('of a parameter inside a path element is the prefix before that element', () => {
    const operation = stock.contract.listItems
    expect(pathsOf({ file: { ...operation, path: '/files/v{version}/raw' }, all: { ...operation, path: '/{tenant}' } })).toEqual(['Prefix /'])
    expect(pathsOf({ file: { ...operation, path: '/files/v{version}/raw' } })).toEqual(['Prefix /files'])
  })

  test('matches prefixes by whole path elements', () => {
    const args: string[] = find(platform, 'Deployment ingress/traefik').spec.template.spec.containers[0].args
    expect(args).toContain('--providers.kubernetesIngress.strictPrefixMatching=true')
  })

  const ingressOf = (env: Record<string, string> = {}) => {
    const { platform: objects } = build(system, env)
    const args: string[] = find(objects, 'Deployment ingress/traefik').spec.template.spec.containers[0].args
    const { http, tls } = parse(find(objects, 'ConfigMap ingress/traefik').data['dynamic.yaml'])
    return { args, config: http, tls }
  }
  const ofEntry = (args: string[], entry: string, option: string) =>
    args.find(arg => arg.startsWith(`--entryPoints.${entry}.${option}=`))?.replace(/^[^=]*=/, '')

  test.each(['web', 'websecure'])('waits at %s for nobody: a place per source, the whole request in memory, and an end to reading it', entry => {
    const { args, config } = ingressOf({ INGRESS_SOURCE_REQUESTS: '7', INGRESS_READ_MS: '3000' })
    expect(ofEntry(args, entry, 'http.middlewares')).toBe('requests-of-a-source@file,strip-deadline@file,whole-body@file')
    expect(config.middlewares['requests-of-a-source'].inFlightReq).toEqual({
      amount: 7,
      sourceCriterion: { ipStrategy: { depth: 0, ipv6Subnet: 64 } },
    })
    const { memRequestBodyBytes, maxRequestBodyBytes, memResponseBodyBytes, maxResponseBodyBytes } = config.middlewares['whole-body'].buffering
    expect([memRequestBodyBytes, maxRequestBodyBytes]).toEqual([66_560, 66_560])
    expect(memResponseBodyBytes).toBe(maxResponseBodyBytes)
    expect(ofEntry(args, entry, 'transport.respondingTimeouts.readTimeout')).toBe('3000ms')
    expect(ofEntry(args, entry, 'http.maxHeaderBytes')).toBe('16384')
    // The longest request of the graph, and 20 s to read its answer.
    expect(ofEntry(args, entry, 'transport.respondingTimeouts.writeTimeout')).toBe('25000ms')
    expect(ofEntry(args, entry, 'transport.respondingTimeouts.idleTimeout')).toBe(`${settings.INGRESS_IDLE_MS}ms`)
  })

  test('takes the largest body that any operation takes', () => {
    const upload = { ...stock.contract.listItems, path: '/pictures', maxBodyBytes: 1 << 20, httpOnly: true } as const
    const larger = build({
      ...system,
      services: [
        { ...stock, contract: { ...stock.contract, upload } },
        { ...booking, calls: [] },
      ],
    })
    const { http } = parse(find(larger.platform, 'ConfigMap ingress/traefik').data['dynamic.yaml'])
    expect(http.middlewares['whole-body'].buffering.memRequestBodyBytes).toBe((1 << 20) + 1_024)
  })

  test('waits for the deadline of nobody outside', () => {
    expect(ingressOf().config.middlewares['strip-deadline']).toEqual({ headers: { customRequestHeaders: { 'x-request-timeout-ms': '' } } })
  })

  test('takes the client from what trusted proxies say, and from nobody else', () => {
    expect(ofEntry(ingressOf().args, 'web', 'forwardedHeaders.trustedIPs')).toBe(undefined)
    const { args, config } = ingressOf({ TRUSTED_HOPS: '2', TRUSTED_PROXIES: '10.0.0.0/8,2001:db8::/32' })
    for (const entry of ['web', 'websecure']) expect(ofEntry(args, entry, 'forwardedHeaders.trustedIPs')).toBe('10.0.0.0/8,2001:db8::/32')
    expect(config.middlewares['requests-of-a-source'].inFlightReq.sourceCriterion.ipStrategy.depth).toBe(1)
  })

  test.each([
    ['localhost', {}, false],
    ['acme.localhost', {}, false],
    ['acme.example.org', {}, true],
    ['notlocalhost', {}, true],
    ['acme.example.org', { HTTP: 'plain' }, false],
    ['acme.localhost', { HTTP: 'redirect', HTTPS_PORT: '8443' }, true],
  ])('sends plain HTTP for %s to https, which says so for a year: with %j %s', (HOST, env, redirects) => {
    const { args, config } = ingressOf({ HOST, ...env })
    const port = 'HTTPS_PORT' in env ? env.HTTPS_PORT : 443
    expect(ofEntry(args, 'web', 'http.redirections.entryPoint.to')).toBe(redirects ? `:${port}` : undefined)
    expect(ofEntry(args, 'websecure', 'http.middlewares')?.includes('hsts@file')).toBe(redirects)
    expect(ofEntry(args, 'web', 'http.middlewares')).not.toContain('hsts')
    expect(config.middlewares.hsts).toEqual({ headers: { stsSeconds: 31_536_000 } })
  })

  test('answers 503 on public paths, and on no other, until it has read its routes', () => {
    const { routers, services } = ingressOf().config
    expect(services['no-route-yet']).toEqual({ loadBalancer: { servers: [] } })
    expect(routers['no-route-yet']).toMatchObject({ priority: 1, entryPoints: ['web', 'websecure'], service: 'no-route-yet' })
    expect(routers['no-route-yet'].rule).toMatch(/^Host\(`acme\.localhost`\) && \(Path\(`\/greetings`\) \|\| /)
    expect(routers['no-route-yet'].rule).toContain(' || Path(`/bookings`) || PathPrefix(`/bookings/`) || ')
    expect(routers['no-route-yet'].rule).not.toContain('reservations')
  })

  test('may read its routes in the namespace of the services only, and no Secret there', () => {
    const readBy = (key: string): string[] => find(platform, key).rules.flatMap(({ resources }: { resources: string[] }) => resources)
    expect(readBy('Role acme/traefik')).toEqual(['services', 'endpointslices', 'ingresses'])
    expect(readBy('Role ingress/traefik')).toEqual(['secrets', 'pods'])
    expect(readBy('ClusterRole platform-traefik')).toEqual(['nodes', 'ingressclasses'])
    for (const key of ['Role acme/traefik', 'Role ingress/traefik', 'ClusterRole platform-traefik'])
      expect(find(platform, key).rules.flatMap(({ verbs }: { verbs: string[] }) => verbs)).not.toContain('*')
  })

  test('asks the API server through itself, with its own Secrets in place of those of the services', () => {
    const { args, config } = ingressOf()
    expect(args).toContain('--providers.kubernetesIngress.endpoint=http://127.0.0.1:6443')
    expect(args).toContain('--entryPoints.api.address=127.0.0.1:6443')
    // Every other route is for the two entry points that are default.
    expect(args.filter(arg => arg.endsWith('.asDefault=true'))).toEqual([
      '--entryPoints.web.asDefault=true',
      '--entryPoints.websecure.asDefault=true',
    ])
    expect(config.routers['api-secrets']).toMatchObject({
      rule: 'Path(`/api/v1/namespaces/acme/secrets`)',
      entryPoints: ['api'],
      middlewares: ['own-secrets'],
    })
    expect(config.middlewares['own-secrets']).toEqual({ replacePath: { path: '/api/v1/namespaces/ingress/secrets' } })
  })

  test.each(['ingress/traefik', 'observability/prometheus', 'observability/prometheus-operator', 'kube-system/metrics-server'])(
    'and every other program that talks to the API server reaches its addresses alone, once they are known: %s',
    name => {
      const rulesFor = (env: Record<string, string>) => find(build(system, env).platform, `NetworkPolicy ${name}`).spec.egress
      const tcp = (port: number) => [{ port, protocol: 'TCP' }]
      expect(rulesFor({})).toContainEqual({ ports: [...tcp(443), ...tcp(6_443)] })
      const narrow = rulesFor({ API_SERVER: '10.96.0.1:443,[fd00::2]:6443' })
      expect(narrow).not.toContainEqual({ ports: [...tcp(443), ...tcp(6_443)] })
      expect(narrow).toContainEqual({ to: [{ ipBlock: { cidr: '10.96.0.1/32' } }], ports: tcp(443) })
      expect(narrow).toContainEqual({ to: [{ ipBlock: { cidr: 'fd00::2/128' } }], ports: tcp(6_443) })
    },
  )

  test('has the certificate from its own namespace, and the Ingress names none', () => {
    const { volumes } = find(platform, 'Deployment ingress/traefik').spec.template.spec
    expect(volumes[0].projected.sources).toEqual([{ configMap: { name: 'traefik' } }, { secret: { name: 'acme-tls', optional: true } }])
    expect(ingressOf().tls).toEqual({ certificates: [{ certFile: '/etc/traefik/tls.crt', keyFile: '/etc/traefik/tls.key' }] })
    expect(find(own, 'Ingress acme/booking').spec.tls).toEqual([{ hosts: ['acme.localhost'] }])
    const { own: attached } = build(system, EXISTING)
    expect(find(attached, 'Ingress acme/booking').spec.tls).toEqual([{ hosts: ['acme.localhost'], secretName: 'acme-tls' }])
  })
})

const synth = (args: string[], dir: string, env: Record<string, string> = {}) =>
  promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', `${project.root}/infra/main.ts`, ...args], {
    env: { PATH: process.env.PATH, CDK8S_OUTDIR: dir, IMAGE_TAG: '1', ...env },
    timeout: 60_000,
  }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  )

test('npm run synth leaves no chart of an earlier run, and nothing else is touched', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-synth-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  for (const name of ['0000-depot.k8s.yaml', 'acme.k8s.yaml', 'notes.yaml']) await writeFile(join(dir, name), '')
  expect((await synth([], dir)).code).toBe(0)
  expect((await readdir(dir)).sort()).toEqual(['0000-acme.k8s.yaml', '0001-platform.k8s.yaml', 'notes.yaml'])
})

test('npm run synth writes nothing for --help, nor for what it does not know', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-synth-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  expect(await synth(['--help'], dir)).toMatchObject({ code: 0, stdout: expect.stringContaining('npm run synth'), stderr: '' })
  expect(await synth(['--json'], dir)).toEqual({ code: 2, stdout: '', stderr: "error: Unknown option '--json'; see --help\n" })
  expect(await readdir(dir)).toEqual([])
})

test('npm run synth says in a line each what does not go together', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-synth-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const refused = await synth([], dir, { MONITORING_NAMESPACE: 'acme' })
  expect(refused).toMatchObject({ code: 1, stdout: '' })
  expect(refused.stderr).toBe(
    'error: the environment has 1 problem:\n  MONITORING_NAMESPACE and NAMESPACE are both acme: the services need a namespace of their own\n',
  )
  expect(await readdir(dir)).toEqual([])
})
