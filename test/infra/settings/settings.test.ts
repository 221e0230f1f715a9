import { describe, expect, test } from 'vitest'
import { descriptionsOf, schemaOf } from '../../../infra/kit/helm/value.ts'
import { valuesOf } from '../../../infra/kit/helm/values.ts'
import { formats, isOf } from '../../../infra/kit/settings/formats.ts'
import * as settings from '../../../infra/kit/settings/settings.ts'
import { hello, stock, system } from '../../support/acme.ts'
import { EXISTING } from '../../support/existing-platform.ts'

type Env = Parameters<typeof settings.loadSettings>[0]
const acme = { name: 'acme', services: [stock] }
const loadSettings = (env: Env) => settings.loadSettings(env, acme)
const settingsFor = (context: string, env: Env) => settings.settingsFor(context, env, acme)

describe('loadSettings', () => {
  test("calls what nobody names by the system's name", () => {
    const named = { HOST: 'acme.localhost', NAMESPACE: 'acme', GATEWAY: 'acme', TLS_SECRET: 'acme-tls' }
    expect(loadSettings({})).toMatchObject(named)
    expect(loadSettings(EXISTING)).toMatchObject(named)
    expect(loadSettings({ NAMESPACE: 'depot', HOST: '' })).toMatchObject({ ...named, NAMESPACE: 'depot' })
  })

  test.each([
    ['NAMESPACE', 'kube-system', 'Kubernetes itself'],
    ['NAMESPACE', 'default', 'Kubernetes itself'],
    ['NAMESPACE', 'Acme_1', 'DNS label'],
    ['NAMESPACE', 'a.b', 'DNS label'],
    ['NAMESPACE', 'n'.repeat(64), 'DNS label'],
    ['HOST', 'Bad_Host', 'DNS name'],
    ['HOST', 'acme.example.org:443', 'DNS name'],
    ['HOST', '10.0.0.1', 'DNS name'],
    ['HOST', '*.example.org', 'DNS name'],
    ['DATABASE_CIDR', 'nonsense', 'no address range'],
    ['DATABASE_CIDR', '10.1/16', 'no address range'],
    ['DATABASE_CIDR', '10.0.0.0/8,10.0.0.1/8', '10.0.0.1/8 has bits beyond its prefix: 10.0.0.0/8'],
    ['DATABASE_CIDR', '::ffff:10.0.0.0/104', 'no address range'],
    ['DATABASE_PORT', '0', '>=1'],
    ['INGRESS_CLASS', 'Nginx', 'name of an object'],
    ['TLS_SECRET', 'acme_tls', 'name of an object'],
    ['GATEWAY', '-acme', 'name of an object'],
    ['MONITORING_LABELS', 'release', 'not key=value'],
    ['MONITORING_LABELS', 're lease=a', 're lease is not the key of a label'],
    ['DASHBOARD_LABELS', 'a=b c', 'b c is not the value of a label'],
    ['WORKLOAD_ISSUER', 'kubernetes.default', 'https URL'],
    ['WORKLOAD_ISSUER', 'http://kubernetes.default', 'https URL'],
    ['IMAGES', 'nodejs=registry.example/node:24.1', 'nodejs is none of node, collector'],
    ['IMAGES', 'node=', 'node= is not an image'],
    ['IMAGES', 'node=Registry.example/node:24.1', 'Registry.example/node:24.1 is not an image'],
    ['IMAGES', 'node=registry.example/node@sha256:abc', 'is not an image'],
    ['IMAGE_MIRROR', 'https://mirror.example', 'registry'],
    ['OTLP_ENDPOINT', 'jaeger.observability:4317', 'http://HOST:PORT'],
    ['OTLP_ENDPOINT', 'grpc://jaeger.observability:4317', 'http://HOST:PORT'],
    ['OTLP_ENDPOINT', 'http://jaeger.observability:4317/v1/traces', 'without a path'],
    ['OTLP_ENDPOINT', 'https://user:password@traces.example.org', 'http://HOST:PORT'],
    ['OTLP_ENDPOINT', 'http://Jaeger', 'Jaeger is neither a DNS name nor an address'],
    ['OTLP_ENDPOINT', 'https://[10.0.0.1]:443', '10.0.0.1 is neither'],
    ['OTLP_ENDPOINT', 'https://traces.example.org:0', '0 is no port'],
    ['OTLP_ENDPOINT', 'https://traces.example.org:65536', '65536 is no port'],
    ['OTLP_HEADERS', 'authorization=abc', 'name of a header'],
    ['OTLP_CIDR', '10.0.0.1', 'no address range'],
    ['DNS', 'coredns', 'coredns is none of kube-dns, nodelocal, gke-cloud-dns, eks-auto'],
    ['DNS', 'k8s-app=kube-dns', 'neither an address range .* nor a label'],
    ['DNS', 'k8s-app=kube-dns@Kube', 'Kube is not a DNS label'],
    ['DNS', '169.254.20.10', 'neither an address range'],
    ['DNS', '169.254.20.10/33', 'no address range'],
    ['DISCOVERY', 'consul', ''],
    ['DISCOVERY_SERVER', 'consul:8600', 'consul:8600 is no address of a DNS server'],
    ['CALLEES', 'stock', 'stock is not service=place'],
    ['CALLEES', 'stock=srv:stock', 'stock is not fully qualified'],
    ['CALLEES_AT', '10.0.0.0/8', 'ends with no port'],
    ['ALERTS_TO', '10.0.0.0/8', 'ends with no port'],
    ['ALERTS_TO', '10.0.0.0/8:0', 'ends with no port'],
    ['ALERTS_TO', 'app=webhook:80', 'neither an address range'],
    ['WORKLOAD_JWKS', 'http://oidc.example.org', 'https URL'],
    ['RUNBOOKS', 'docs and runbooks', 'blanks'],
    ['IMAGE_REGISTRY', 'https://registry.example', 'registry'],
    ['IMAGE_REGISTRY', 'registry.example/', 'registry'],
    ['IMAGE_TAG', 'a/b', 'tag of an image'],
  ])('refuses %s=%s and says what it takes', (name, value, takes) => {
    expect(() => loadSettings({ [name]: value })).toThrow(
      new RegExp(`^the environment has 1 problem:\n {2}${name} is wrong \\(.*${takes}.*\\): it takes (?!a value)`),
    )
  })

  test.each([
    ['NAMESPACE', 'acme-1'],
    ['HOST', 'localhost'],
    ['HOST', 'xn--mnchen-3ya.example'],
    ['IMAGE_REGISTRY', 'localhost:5000/a_b/c--d'],
    ['IMAGES', `node=registry.example:5000/a/node:24@sha256:${'0'.repeat(64)},postgres=postgres:17.9`],
    ['TRUSTED_PROXIES', '10.0.0.0/8, 2001:db8::/32'],
    ['MONITORING_LABELS', 'app.kubernetes.io/part-of=kps,empty='],
  ])('takes %s=%s', (name, value) => {
    expect(() => loadSettings({ [name]: value })).not.toThrow()
  })

  test.each([
    [{ INGRESS_NAMESPACE: 'observability' }, ['INGRESS_NAMESPACE and MONITORING_NAMESPACE', 'INGRESS_NAMESPACE and TRACING_NAMESPACE']],
    [{ MONITORING_NAMESPACE: 'acme' }, ['MONITORING_NAMESPACE and NAMESPACE are both acme']],
    [{ TRACING_NAMESPACE: 'kube-system' }, ['TRACING_NAMESPACE is kube-system']],
    [{ DATABASE: 'external' }, ['DATABASE_CIDR is missing']],
    [{ WORKLOAD_JWKS: 'https://oidc.example.org/keys' }, ['WORKLOAD_JWKS_CIDR is missing']],
    [{ OTLP_ENDPOINT: 'http://tempo.tracing:4317' }, ['OTLP_ENDPOINT is not http://jaeger.observability:4317']],
    [{ OTLP_CIDR: '192.0.2.0/24' }, ['OTLP_ENDPOINT is not http://jaeger.observability:4317, or OTLP_CIDR is set']],
    [{ ...EXISTING, OTLP_HEADERS: 'authorization', OTLP_CA: 'ca' }, ['OTLP_HEADERS with an OTLP_ENDPOINT of http', 'OTLP_CA with an']],
    [{ CALLEES: 'nobody=10.0.0.1', CALLEES_AT: '10.0.0.0/8:80' }, ['CALLEES names nobody, which no service calls']],
    [{ CALLEES: 'nobody=10.0.0.1' }, ['CALLEES names nobody', 'CALLEES_AT is missing: CALLEES takes the addresses and ports']],
    [{ CALLEES_AT: '10.0.0.0/8:80' }, ['CALLEES_AT is set without CALLEES']],
    [{ DISCOVERY_SERVER: '10.0.0.2' }, ['DISCOVERY_SERVER is set, and nobody would ask it']],
    [{ ALERTS_SECRET: 'receivers' }, ['ALERTS_SECRET and ALERTS_TO go together']],
    [{ ALERTS_TO: '192.0.2.0/24:443' }, ['ALERTS_SECRET and ALERTS_TO go together']],
    [{ ALERTS_SECRET: 'alertmanager-alertmanager', ALERTS_TO: '192.0.2.0/24:443' }, ['ALERTS_SECRET is alertmanager-alertmanager']],
    [{ ...EXISTING, ALERTS_SECRET: 'receivers', ALERTS_TO: '192.0.2.0/24:443' }, ['ALERTS_SECRET and ALERTS_TO are for the bundled']],
    [{ ...EXISTING, NAMESPACE: 'nginx' }, ['INGRESS_NAMESPACE and NAMESPACE are both nginx']],
  ])('refuses %j, which do not go together', (env, problems) => {
    const lines = problems.map(problem => ` {2}${problem}.*`).join('\n')
    expect(() => loadSettings(env)).toThrow(new RegExp(`^the environment has ${problems.length} problems?:\n${lines}$`))
  })

  test('lets metrics and traces share a namespace, and takes an existing ingress in kube-system', () => {
    expect(loadSettings({}).MONITORING_NAMESPACE).toBe(loadSettings({}).TRACING_NAMESPACE)
    expect(loadSettings({ ...EXISTING, INGRESS_NAMESPACE: 'kube-system' }).INGRESS_NAMESPACE).toBe('kube-system')
  })

  test('knows the platform that it brings, whose Jaeger moves with its namespace, and no other', () => {
    expect(loadSettings({ TRACING_NAMESPACE: 'traces' }).OTLP_ENDPOINT).toEqual({ host: 'jaeger.traces', port: 4_317, insecure: true })
    const missing = ['INGRESS_CLASS', 'INGRESS_NAMESPACE', 'MONITORING_NAMESPACE', 'TRACING_NAMESPACE', 'OTLP_ENDPOINT']
    expect(() => loadSettings({ PLATFORM: 'existing' })).toThrow(
      new RegExp(`^the environment has 5 problems:\n${missing.map(name => ` {2}${name} is missing: it takes the .*`).join('\n')}$`),
    )
    expect(loadSettings(EXISTING)).toMatchObject({ ...EXISTING, OTLP_ENDPOINT: { host: 'tempo.tracing' } })
  })

  test.each([
    ['http://tempo.tracing', { host: 'tempo.tracing', port: 4_317, insecure: true }],
    ['http://tempo.tracing:80', { host: 'tempo.tracing', port: 80, insecure: true }],
    ['https://traces.example.org/', { host: 'traces.example.org', port: 443, insecure: false }],
    ['https://traces.example.org:4317', { host: 'traces.example.org', port: 4_317, insecure: false }],
    ['http://10.0.0.1:4317', { host: '10.0.0.1', port: 4_317, insecure: true }],
    ['https://[2001:db8::1]', { host: '[2001:db8::1]', port: 443, insecure: false }],
  ])('takes traces to %s', (OTLP_ENDPOINT, endpoint) => {
    expect(loadSettings({ ...EXISTING, OTLP_ENDPOINT }).OTLP_ENDPOINT).toEqual(endpoint)
  })

  test('asks for no namespace of who takes traces outside the cluster', () => {
    const { TRACING_NAMESPACE: _, ...others } = EXISTING
    expect(() => loadSettings(others)).toThrow('TRACING_NAMESPACE is missing')
    expect(() => loadSettings({ ...others, OTLP_CIDR: '192.0.2.0/24' })).not.toThrow()
  })

  const pods = (namespace: string, matchLabels: Record<string, string>) => ({
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
    podSelector: { matchLabels },
  })
  test.each([
    ['', [pods('kube-system', { 'k8s-app': 'kube-dns' })]],
    ['kube-dns,nodelocal', [pods('kube-system', { 'k8s-app': 'kube-dns' }), { ipBlock: { cidr: '169.254.20.10/32' } }]],
    ['gke-cloud-dns', [{ ipBlock: { cidr: '169.254.169.254/32' } }]],
    ['eks-auto', [{ ipBlock: { cidr: '0.0.0.0/0' } }, { ipBlock: { cidr: '::/0' } }]],
    ['app.kubernetes.io/name=coredns@dns, fd00::a/128', [pods('dns', { 'app.kubernetes.io/name': 'coredns' }), { ipBlock: { cidr: 'fd00::a/128' } }]],
  ])('knows who answers DNS by %j', (DNS, peers) => {
    expect(loadSettings({ DNS }).DNS).toEqual(peers)
  })

  test('knows where receivers of alerts are', () => {
    const { ALERTS_TO } = loadSettings({ ALERTS_SECRET: 'receivers', ALERTS_TO: 'app=webhook@alerts:8080,2001:db8::/32:443' })
    expect(ALERTS_TO).toEqual([
      { peer: pods('alerts', { app: 'webhook' }), port: 8_080 },
      { peer: { ipBlock: { cidr: '2001:db8::/32' } }, port: 443 },
    ])
  })

  test('takes an empty variable for one that is not set', () => {
    expect(loadSettings({ PLATFORM: '', INGRESS_NAMESPACE: '', CLUSTER: '' })).toEqual(loadSettings({}))
  })
})

describe('settingsFor', () => {
  test('brings a platform to kind, and to no other cluster unless that is said', () => {
    expect(settingsFor('kind-fairlead', {})).toMatchObject({ CLUSTER: 'kind', PLATFORM: 'bundled' })
    expect(() => settingsFor('production', {})).toThrow(
      /INGRESS_NAMESPACE is missing(.*\n)*.*PLATFORM is existing, because production is no cluster of kind/,
    )
    expect(() => settingsFor('production', { PLATFORM: 'existing' })).toThrow(/OTLP_ENDPOINT is missing: [^\n]*$/)
    expect(settingsFor('production', EXISTING)).toMatchObject({ CLUSTER: 'other', PLATFORM: 'existing' })
    expect(settingsFor('production', { PLATFORM: 'bundled' })).toMatchObject({ CLUSTER: 'other', PLATFORM: 'bundled', INGRESS_NAMESPACE: 'ingress' })
    expect(settingsFor('production', { CLUSTER: 'kind' }).PLATFORM).toBe('bundled')
  })
})

describe('someSettings', () => {
  test('asks for no more than is needed', () => {
    expect(settings.someSettings({ PLATFORM: 'existing', HOST: 'Bad_Host', NAMESPACE: 'depot' }, acme, 'NAMESPACE')).toEqual({ NAMESPACE: 'depot' })
    expect(() => settings.someSettings({ NAMESPACE: 'Acme_1' }, acme, 'NAMESPACE')).toThrow('NAMESPACE is wrong')
  })
})

test('a system without databases is asked for none', () => {
  const stateless = { name: 'acme', services: [hello] }
  expect(settings.loadSettings({ DATABASE: 'external' }, stateless).DATABASE_CIDR).toEqual([])
})

describe("the chart's schema", () => {
  test('has the very patterns of the settings', () => {
    const values = valuesOf(system, loadSettings({}), { hello: '1', stock: '1', booking: '1' }, [])
    expect(descriptionsOf(values).length).toBeGreaterThan(20)
    // biome-ignore lint/suspicious/noExplicitAny: a JSON Schema of many levels
    const { properties } = schemaOf(values) as any
    expect(properties.host.pattern).toBe(formats.hostName.pattern)
    expect(properties.workloadIssuer.pattern).toBe(formats.issuer.pattern)
    expect(properties.image.properties.registry.pattern).toBe(formats.registry.pattern)
    expect(properties.ingress.properties.namespace.pattern).toBe(formats.namespace.pattern)
    expect(properties.monitoring.properties.labels).toMatchObject({
      propertyNames: { pattern: formats.labelKey.pattern },
      additionalProperties: { pattern: formats.labelValue.pattern },
    })
  })

  test('has formats that do not let a text through which is too long', () => {
    for (const format of Object.values(formats)) expect(isOf(format, 'a'.repeat(format.maxLength + 1)), format.takes).toBe(false)
  })
})
