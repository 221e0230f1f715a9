import { toRun } from '../../../scripts/remedy.ts'
import 'reflect-metadata'
import { webcrypto, X509Certificate } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { X509CertificateGenerator } from '@peculiar/x509'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import type { Cluster, Live, Reference } from '../../../scripts/cluster/cluster.ts'
import { lineOf } from '../../../scripts/cluster/database-secrets.ts'
import { ensureSecrets, namespaceManifests, rotateSigningKey } from '../../../scripts/cluster/secrets.ts'
import { outcomeOf } from '../../../scripts/commands/secrets.ts'
import { project, system } from '../../support/acme.ts'

const settings = loadSettings({}, system)
const ISSUER = 'https://kubernetes.default.svc.cluster.local'

let authorityDir: string
let userIssuerDir: string

beforeEach(async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-secrets-'))
  authorityDir = join(dir, 'ca')
  userIssuerDir = join(dir, 'stand-in')
  return () => rm(dir, { recursive: true, force: true })
})

type Stored = Live & { stringData?: Record<string, string>; type?: string }

/** An API server that keeps Secrets as it does: what comes as text is read as base64. */
function fakeCluster({ madeBy = 'kind' } = {}) {
  const objects = new Map<string, Stored>()
  let jwks = '{"keys":[{"kid":"a"}]}'
  const store = (manifest: Reference) => {
    const { stringData, ...rest } = manifest as Stored
    const data = stringData
      ? Object.fromEntries(Object.entries(stringData).map(([key, value]) => [key, Buffer.from(value).toString('base64')]))
      : rest.data
    const before = JSON.stringify(objects.get(manifest.metadata.name))
    objects.set(manifest.metadata.name, { ...rest, data: data ?? {} })
    return before === undefined ? 'created' : before === JSON.stringify(objects.get(manifest.metadata.name)) ? 'unchanged' : 'configured'
  }
  const cluster = {
    context: 'kind-test',
    read: async ({ metadata }: Reference) => objects.get(metadata.name),
    apply: async (manifest: Reference) => store(manifest),
    create: async (manifest: Reference) => {
      if (objects.has(manifest.metadata.name)) return false
      store(manifest)
      return true
    },
    patch: async ({ metadata }: Reference, { stringData }: { stringData: Record<string, string> }) => {
      const known = objects.get(metadata.name) as Stored
      const added = Object.fromEntries(Object.entries(stringData).map(([key, value]) => [key, Buffer.from(value).toString('base64')]))
      objects.set(metadata.name, { ...known, data: { ...known.data, ...added } })
    },
    list: async () => [{ spec: { providerID: `${madeBy}://docker/fairlead/fairlead-control-plane` } }],
    tokenIssuer: async () => ({ issuer: ISSUER, jwks }),
  } as unknown as Cluster
  const text = (name: string, key: string) => Buffer.from(objects.get(name)?.data?.[key] ?? '', 'base64').toString()
  return { cluster, objects, text, rotate: () => (jwks = '{"keys":[{"kid":"b"}]}') }
}

async function issuedBy(name: string): Promise<string> {
  const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  return (await X509CertificateGenerator.createSelfSigned({ name, keys })).toString('pem')
}

const make = (cluster: Cluster, env = {}) => ensureSecrets(cluster, { ...project, settings: { ...settings, ...env }, authorityDir, userIssuerDir })
const ensure = async (cluster: Cluster, env = {}) => (await make(cluster, env)).map(lineOf)

describe('secrets', () => {
  test('are all made the first time, and none the second', async () => {
    const { cluster, objects } = fakeCluster()
    const said = await ensure(cluster)
    expect(said.map(line => line.split(':')[0])).toEqual([
      'ConfigMap workload-issuer',
      'ConfigMap issuer-stand-in',
      'Secret seals',
      'Secret postgres',
      'Secret postgres-roles',
      'Secret postgres-tls',
      'Secret stock-database',
      'Secret stock-database-owner',
      'Secret booking-database',
      'Secret booking-database-owner',
      'Secret acme-tls',
    ])
    const before = JSON.stringify([...objects])
    expect(await ensure(cluster)).toEqual([])
    expect(JSON.stringify([...objects])).toBe(before)
  })

  test('are never said aloud', async () => {
    const { cluster, objects, text } = fakeCluster()
    const made = await make(cluster)
    const said = made.map(lineOf).join('\n')
    for (const name of ['stock', 'booking']) expect(said).not.toContain(text('postgres-roles', name))
    expect(said).not.toContain(text('postgres', 'password'))
    expect(text('postgres', 'password')).toMatch(/^[\w-]{32}$/)
    expect(outcomeOf('kind-test', made)).toEqual({
      context: 'kind-test',
      changed: expect.arrayContaining(['Secret acme/postgres', `Secret ${settings.INGRESS_NAMESPACE}/acme-tls`, 'ConfigMap acme/workload-issuer']),
    })
    for (const { kind, metadata, data } of objects.values())
      for (const key of Object.keys(kind === 'Secret' ? (data ?? {}) : {})) expect(JSON.stringify(made)).not.toContain(text(metadata.name, key))
  })

  test('are a signing key in a file of its kid, which signs from now on', async () => {
    const { cluster, objects, text } = fakeCluster()
    await ensure(cluster)
    const [file = ''] = Object.keys(objects.get('seals')?.data ?? {})
    const jwk = JSON.parse(text('seals', file))
    expect(jwk).toMatchObject({ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA', kid: file.replace('.json', '') })
    expect(jwk.nbf).toBeLessThanOrEqual(Date.now() / 1_000)
  })

  test('give each service the URL of its own database with the password of its role', async () => {
    const { cluster, text } = fakeCluster()
    await ensure(cluster)
    expect(text('booking-database', 'url')).toBe(
      `postgres://booking:${text('postgres-roles', 'booking')}@postgres.acme:5432/booking?sslmode=verify-full&sslrootcert=/etc/fairlead/database/ca.crt`,
    )
    expect(text('booking-database-owner', 'url')).toBe(
      `postgres://booking-owner:${text('postgres-roles', 'booking-owner')}@postgres.acme:5432/booking?sslmode=verify-full&sslrootcert=/etc/fairlead/database-owner/ca.crt`,
    )
    const passwords = ['stock', 'stock-owner', 'booking', 'booking-owner'].map(role => text('postgres-roles', role))
    expect(new Set(passwords).size).toBe(4)
  })

  test('bring a URL with another password into line with its role', async () => {
    const { cluster, objects, text } = fakeCluster()
    await ensure(cluster)
    objects.delete('booking-database')
    expect(await ensure(cluster)).toEqual(['Secret booking-database: its URL'])
    expect(text('booking-database', 'url')).toContain(text('postgres-roles', 'booking'))
    objects.delete('postgres-roles')
    expect((await ensure(cluster)).map(line => line.split(':')[0])).toEqual([
      'Secret postgres-roles',
      'Secret stock-database',
      'Secret stock-database-owner',
      'Secret booking-database',
      'Secret booking-database-owner',
    ])
    expect(text('booking-database', 'url')).toContain(text('postgres-roles', 'booking'))
  })

  test("make a certificate for the database's server, and give who reads its URLs the authority to believe", async () => {
    const { cluster, objects, text } = fakeCluster()
    await ensure(cluster)
    const leaf = new X509Certificate(text('postgres-tls', 'tls.crt'))
    const authority = new X509Certificate(text('postgres-tls', 'ca.crt'))
    expect(leaf.checkHost('postgres.acme')).toBe('postgres.acme')
    expect(leaf.verify(authority.publicKey)).toBe(true)
    for (const name of ['stock-database', 'stock-database-owner']) expect(text(name, 'ca.crt')).toBe(text('postgres-tls', 'ca.crt'))
    objects.delete('postgres-tls')
    const [first, ...others] = await ensure(cluster)
    expect(first).toBe('Secret postgres-tls: a certificate for postgres.acme')
    expect(others).toHaveLength(4)
    for (const name of ['stock-database', 'stock-database-owner']) expect(text(name, 'ca.crt')).toBe(text('postgres-tls', 'ca.crt'))
  })

  test('give a new service a password and leave the others theirs', async () => {
    const { cluster, objects, text } = fakeCluster()
    await ensure(cluster)
    const known = text('postgres-roles', 'stock')
    delete objects.get('postgres-roles')?.data?.booking
    await ensure(cluster)
    expect(text('postgres-roles', 'stock')).toBe(known)
    expect(text('booking-database', 'url')).toContain(`:${text('postgres-roles', 'booking')}@`)
  })

  test("leave an operator's own database and certificate alone", async () => {
    const { cluster, text } = fakeCluster()
    const own = (name: string, stringData: Record<string, string>) =>
      cluster.create({ apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData } as never)
    await own('stock-database', { url: 'postgres://stock:theirs@db.example.org/stock' })
    await own('acme-tls', { 'tls.crt': 'theirs' })
    await ensure(cluster)
    expect([text('stock-database', 'url'), text('acme-tls', 'tls.crt')]).toEqual(['postgres://stock:theirs@db.example.org/stock', 'theirs'])
    expect(text('stock-database-owner', 'url')).toBe('postgres://stock:theirs@db.example.org/stock')
  })

  test('put the certificate beside the ingress that uses it, and nothing else there', async () => {
    const { cluster, objects } = fakeCluster()
    await ensure(cluster)
    expect([...objects.values()].filter(({ metadata }) => metadata.namespace === 'ingress').map(({ metadata }) => metadata.name)).toEqual([
      'acme-tls',
    ])
    const existing = fakeCluster()
    await ensure(existing.cluster, { PLATFORM: 'existing' })
    expect(existing.objects.get('acme-tls')?.metadata.namespace).toBe('acme')
  })

  test('leave a certificate alone that cert-manager has put into the Secret, whose labels are still ours', async () => {
    const { cluster, objects, text } = fakeCluster()
    await ensure(cluster)
    const secret = objects.get('acme-tls') as Stored
    const theirs = await issuedBy('CN=letsencrypt')
    secret.metadata.labels = { ...secret.metadata.labels, 'controller.cert-manager.io/fao': 'true' }
    secret.metadata.annotations = { 'cert-manager.io/certificate-name': 'acme' }
    secret.data = { 'tls.crt': Buffer.from(theirs).toString('base64') }
    expect(secret.metadata.labels['app.kubernetes.io/managed-by']).toBe('fairlead')
    expect(await ensure(cluster)).toEqual([])
    expect(text('acme-tls', 'tls.crt')).toBe(theirs)
    expect(await ensure(cluster, { HOST: 'depot.localhost' })).toEqual([])
  })

  test.each(['', 'nonsense'])('leave a certificate alone that cannot be read: %j', async certificate => {
    const { cluster, objects } = fakeCluster()
    await ensure(cluster)
    const secret = objects.get('acme-tls') as Stored
    secret.data = { 'tls.crt': Buffer.from(certificate).toString('base64') }
    expect(await ensure(cluster)).toEqual([])
  })

  test('replace a certificate of a local authority that is gone', async () => {
    const { cluster, text } = fakeCluster()
    await ensure(cluster)
    const before = text('acme-tls', 'tls.crt')
    await rm(authorityDir, { recursive: true })
    expect(await ensure(cluster)).toEqual([
      expect.stringMatching(/^Secret acme-tls: a certificate for acme\.localhost, signed by the new .*ca\.crt$/),
    ])
    expect(text('acme-tls', 'tls.crt')).not.toBe(before)
  })

  test('make no certificate, and look at none, where it comes from elsewhere', async () => {
    const { cluster, objects } = fakeCluster()
    const whole = await ensure(fakeCluster().cluster)
    expect(await ensure(cluster, { TLS: 'external' })).toHaveLength(whole.length - 1)
    expect(objects.has('acme-tls')).toBe(false)
  })

  test('have no stand-in on a cluster whose context alone says kind', async () => {
    const { cluster, objects } = fakeCluster({ madeBy: 'aws' })
    await expect(ensure(cluster)).rejects.toThrow("USERS_JWKS is stand-in, and the nodes of kind-test are not kind's")
    expect(objects.has('issuer-stand-in')).toBe(false)
  })

  test('have the public key of a stand-in on kind, where users come from elsewhere, and of none of a real issuer', async () => {
    const users = { issuer: 'https://login.example.org', audience: 'acme', jwksUri: 'https://login.example.org/keys' }
    const options = { ...project, system: { ...system, users }, authorityDir, userIssuerDir }
    const { cluster, objects } = fakeCluster()
    await ensureSecrets(cluster, { ...options, settings })
    expect(await ensureSecrets(cluster, { ...options, settings })).toEqual([])
    const [key] = JSON.parse(objects.get('issuer-stand-in')?.data?.['jwks.json'] ?? '').keys
    expect(key).toMatchObject({ alg: 'ES256' })
    expect(key).not.toHaveProperty('d')
    const real = fakeCluster()
    await ensureSecrets(real.cluster, { ...options, settings: loadSettings({ USERS_JWKS: 'issuer' }, { ...system, users }) })
    expect(real.objects.has('issuer-stand-in')).toBe(false)
  })

  test('follow the keys of the token issuer', async () => {
    const { cluster, objects, rotate } = fakeCluster()
    await ensure(cluster)
    rotate()
    expect(await ensure(cluster)).toEqual(["ConfigMap workload-issuer: the cluster's token keys"])
    expect(objects.get('workload-issuer')?.data).toEqual({ 'jwks.json': '{"keys":[{"kid":"b"}]}' })
  })

  test('a signing key that is added signs in ten minutes, and the one before may go when its last token can have expired', async () => {
    const { cluster, objects } = fakeCluster()
    await ensure(cluster)
    const [old] = Object.keys(objects.get('seals')?.data ?? {})
    const said = lineOf(await rotateSigningKey(cluster, 'seals', settings, Date.parse('2026-11-26T08:00:00Z') / 1_000))
    expect(Object.keys(objects.get('seals')?.data ?? {})).toHaveLength(2)
    expect(said).toMatch(/^Secret seals: key 2026-11-26-\w+ signs from 2026-11-26T08:10:00Z; /)
    expect(said).toContain(`remove ${old} after 2026-11-26T08:25:05Z`)
  })

  test('are renewed when the host changes', async () => {
    const { cluster } = fakeCluster()
    await ensure(cluster)
    expect(await ensure(cluster, { HOST: 'depot.localhost' })).toEqual([
      expect.stringMatching(/^Secret acme-tls: a certificate for depot\.localhost, signed by the new .*ca\.crt$/),
    ])
  })

  test('are not made for an external database', async () => {
    const { cluster, objects } = fakeCluster()
    await ensure(cluster, { DATABASE: 'external' })
    expect([...objects.keys()]).toEqual(['workload-issuer', 'issuer-stand-in', 'seals', 'acme-tls'])
  })

  test('have no copy of keys that the issuer publishes', async () => {
    const { cluster, objects } = fakeCluster()
    await ensure(cluster, { WORKLOAD_JWKS: 'https://oidc.example.org/keys' })
    expect([...objects.keys()]).not.toContain('workload-issuer')
  })

  test.each([
    [
      { OTLP_HEADERS: ['authorization'] },
      'Secret acme/otlp-headers, which OTLP_HEADERS asks for',
      'kubectl --context kind-test -n acme create secret generic otlp-headers --from-file=authorization',
    ],
    [
      { ALERTS_SECRET: 'receivers' },
      'Secret observability/receivers, which ALERTS_SECRET asks for',
      'kubectl --context kind-test -n observability create secret generic receivers --from-file=alertmanager.yaml',
    ],
  ])('are asked for where %j needs one of the owner of the cluster', async (env, message, command) => {
    const { cluster, objects } = fakeCluster()
    await expect(ensure(cluster, env)).rejects.toMatchObject({ message: `${message}, is not there: make it`, remedy: toRun(command) })
    const [namespace = '', name = ''] = (/Secret ([^,]+)/.exec(message)?.[1] ?? '').split('/')
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, data: {} }
    objects.set(name, secret)
    await expect(ensure(cluster, env)).rejects.toThrow(/lacks (authorization|alertmanager\.yaml): make it$/)
    objects.set(name, { ...secret, data: { authorization: 'eA==', 'alertmanager.yaml': 'eA==' } })
    await ensure(cluster, env)
  })

  test('are refused for tokens of another issuer than the one that is set', async () => {
    const { cluster, objects } = fakeCluster()
    await expect(ensure(cluster, { WORKLOAD_ISSUER: 'https://oidc.example.org' })).rejects.toThrow(
      `WORKLOAD_ISSUER is https://oidc.example.org, but the cluster's tokens are issued by ${ISSUER}: set it to that`,
    )
    expect(objects.size).toBe(0)
  })

  test('of a kind that only the operator knows are asked for by name', async () => {
    const { cluster } = fakeCluster()
    const [hello, stock, booking] = system.services
    const services = [hello, { ...stock, secrets: { ...stock.secrets, payment: {} } }, booking]
    await expect(ensureSecrets(cluster, { ...project, system: { ...system, services }, settings, authorityDir })).rejects.toMatchObject({
      message: 'Secret acme/payment, which stock declares, is not there: make it',
      remedy: toRun('kubectl --context kind-test -n acme create secret generic payment --from-file=DIR'),
    })
  })
})

test('the namespaces are as an overlay leaves them', () => {
  const overlay = (object: Manifest) =>
    object.kind === 'Namespace' ? { ...object, metadata: { ...object.metadata, labels: { ...object.metadata.labels, team: 'blue' } } } : object
  const namespaces = namespaceManifests({ ...project, settings, overlay }).filter(({ kind }) => kind === 'Namespace')
  expect(namespaces.map(({ metadata }) => [metadata.name, metadata.labels?.team])).toEqual([
    [settings.NAMESPACE, 'blue'],
    [settings.INGRESS_NAMESPACE, 'blue'],
  ])
})
