import { ACCESS_TOKEN, secretsOf } from '@fairlead/chassis'
import {
  addIngressNamespace,
  addMonitoringNamespaces,
  addNamespace,
  certificateSecret,
  ISSUER_STAND_IN,
  labelsOf,
  type Manifest,
  type Overlay,
  type Project,
  type Settings,
  systemOwner,
  usesStandIn,
  WORKLOAD_ISSUER,
} from '@fairlead/infra/tools'
import { App, Chart } from 'cdk8s'
import { newSigningKey } from '../local/credentials.ts'
import { ensureUserIssuer, USER_ISSUER_DIR } from '../local/user-issuer.ts'
import { fairlead, kubectl, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import { requireBrought, textOf } from './brought-secrets.ts'
import { ensureAuthority, isLocal, issueCertificate, needsRenewal } from './certificates.ts'
import type { Cluster } from './cluster.ts'
import { ensureDatabaseSecrets, type Made, type MakeSecret } from './database-secrets.ts'
import { AUTHORITY_DIR } from './ingress-url.ts'

export interface SecretsOptions extends Pick<Project, 'system' | 'version'> {
  settings: Settings
  /** Folder of the key that stands in for a foreign issuer. @default .data/issuer-stand-in */
  userIssuerDir?: string
  overlay?: Overlay
  /** Folder of this machine's certificate authority. @default .data/ca */
  authorityDir?: string
}

/** The namespaces of the services, of the certificate and of other Secrets, as dist/ has them. */
export const namespaceManifests = ({ system, version, settings, overlay = object => object }: SecretsOptions): Manifest[] => {
  const chart = new Chart(new App(), 'namespace')
  addNamespace(chart, { ...systemOwner({ system, version }), name: settings.NAMESPACE }, 'restricted')
  if (settings.PLATFORM === 'bundled') {
    addIngressNamespace(chart, settings)
    if (settings.ALERTS_SECRET) addMonitoringNamespaces(chart, settings)
  }
  return (chart.toJson() as Manifest[]).map(overlay)
}

/**
 * Makes what is missing. Safe to repeat and to run twice at once: who comes second finds it there.
 * @returns each thing made or brought up to date
 * @throws CommandError naming a Secret that only the owner of the cluster can make, or a wrong WORKLOAD_ISSUER
 */
export async function ensureSecrets(cluster: Cluster, options: SecretsOptions): Promise<Made[]> {
  const { system, version, settings, authorityDir = AUTHORITY_DIR, userIssuerDir = USER_ISSUER_DIR } = options
  const namespace = settings.NAMESPACE
  const made: Made[] = []
  const note = (kind: Made['kind'], name: string, what: string) => made.push({ kind, namespace, name, what })
  const labels = labelsOf(systemOwner({ system, version }))
  const reference = (kind: 'Secret' | 'ConfigMap', name: string) => ({ apiVersion: 'v1', kind, metadata: { name, namespace, labels } })
  const secret = (name: string, stringData: Record<string, string>, type = 'Opaque') => ({ ...reference('Secret', name), type, stringData })

  const issuer = await cluster.tokenIssuer()
  if (issuer.issuer !== settings.WORKLOAD_ISSUER)
    throw new CommandError(`WORKLOAD_ISSUER is ${settings.WORKLOAD_ISSUER}, but the cluster's tokens are issued by ${issuer.issuer}: set it to that`)
  if (settings.WORKLOAD_JWKS === 'file') {
    const jwks = await cluster.apply({ ...reference('ConfigMap', WORKLOAD_ISSUER), data: { 'jwks.json': issuer.jwks } } as never)
    if (jwks !== 'unchanged') note('ConfigMap', WORKLOAD_ISSUER, "the cluster's token keys")
  }

  const users = usesStandIn(system, settings) && (await ensureUserIssuer(userIssuerDir, system))
  if (users) {
    await requireKind(cluster)
    const jwks = await cluster.apply({ ...reference('ConfigMap', ISSUER_STAND_IN), data: { 'jwks.json': users.jwks } } as never)
    if (jwks !== 'unchanged') note('ConfigMap', ISSUER_STAND_IN, "the key that stands in for that of users' own issuer")
  }

  for (const service of system.services) {
    for (const { name, make } of secretsOf(service)) {
      if (await cluster.read(reference('Secret', name))) continue
      if (make !== 'ed25519-jwk')
        throw new CommandError(
          `Secret ${namespace}/${name}, which ${service.name} declares, is not there: make it`,
          toRun(kubectl(cluster.context, `-n ${namespace} create secret generic ${name} --from-file=DIR`)),
        )
      const { kid, json } = await newSigningKey(Math.floor(Date.now() / 1_000))
      if (await cluster.create(secret(name, { [`${kid}.json`]: json }))) note('Secret', name, `key ${kid}`)
    }
  }
  await requireBrought(cluster, settings)
  if (settings.DATABASE === 'bundled' && system.services.some(({ database }) => database !== undefined))
    made.push(...(await ensureDatabaseSecrets(cluster, system, namespace, secret)))
  made.push(...(await ensureCertificate(cluster, settings, authorityDir, secret)))
  return made
}

/** A context's name is anybody's choice; who made a node is not. */
async function requireKind(cluster: Cluster): Promise<void> {
  const nodes = (await cluster.list('v1', 'Node')) as unknown as { spec?: { providerID?: string } }[]
  if (nodes.length > 0 && nodes.every(({ spec }) => spec?.providerID?.startsWith('kind://'))) return
  throw new CommandError(
    `USERS_JWKS is stand-in, and the nodes of ${cluster.context} are not kind's: set CLUSTER=other, so that services believe the issuer alone`,
  )
}

/** Tokens' readers look for new keys every ten minutes at the latest, so a key is published for that long before it signs. */
const PUBLISHED_SECONDS = 600

/**
 * Adds a signing key beside those that are there; no pod restarts.
 * @returns what was done, and which keys can go once their last tokens have expired
 */
export async function rotateSigningKey(
  cluster: Cluster,
  name: string,
  { NAMESPACE }: Pick<Settings, 'NAMESPACE'>,
  nowSeconds: number,
): Promise<Made> {
  const reference = { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: NAMESPACE } }
  const before = await cluster.read(reference)
  if (!before) throw new CommandError(`Secret ${NAMESPACE}/${name} is not there`, toRun(fairlead(cluster.context, 'secrets')))
  const signsFrom = nowSeconds + PUBLISHED_SECONDS
  const { kid, json } = await newSigningKey(signsFrom)
  await cluster.patch(reference, { stringData: { [`${kid}.json`]: json } })
  const time = (seconds: number) => new Date(seconds * 1_000).toISOString().slice(0, 19)
  const old = Object.keys(before.data ?? {}).join(', ')
  const usedUntil = signsFrom + ACCESS_TOKEN.maxLifetimeSeconds + ACCESS_TOKEN.clockToleranceSeconds
  const what = `key ${kid} signs from ${time(signsFrom)}Z; remove ${old} after ${time(usedUntil)}Z`
  return { kind: 'Secret', namespace: NAMESPACE, name, what }
}

/**
 * The certificate of the local authority. One that is not from there stays, whatever the Secret's labels say: cert-manager, for one, adds
 * its own to those that it finds.
 */
async function ensureCertificate(cluster: Cluster, settings: Settings, dir: string, secret: MakeSecret): Promise<Made[]> {
  if (settings.TLS === 'external') return []
  const { name, namespace } = certificateSecret(settings)
  const known = await cluster.read({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace } })
  const certificate = textOf(known, 'tls.crt') ?? ''
  if (known && !(known.metadata.labels?.['app.kubernetes.io/managed-by'] === 'fairlead' && isLocal(certificate))) return []
  const hosts = [settings.HOST, 'localhost']
  const authority = await ensureAuthority(dir, hosts)
  if (known && !needsRenewal(certificate, authority, settings.HOST)) return []
  const issued = await issueCertificate(authority, hosts)
  const made = secret(name, { 'tls.crt': issued.certificate, 'tls.key': issued.key }, 'kubernetes.io/tls')
  await cluster.apply({ ...made, metadata: { ...made.metadata, namespace } })
  const what = `a certificate for ${settings.HOST}, signed by ${authority.made ? 'the new ' : ''}${authority.certificateFile}`
  return [{ kind: 'Secret', namespace, name, what }]
}
