// @peculiar/x509 wants this to be there before it.
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AsnConvert } from '@peculiar/asn1-schema'
import { GeneralName, GeneralSubtree, GeneralSubtrees, NameConstraints } from '@peculiar/asn1-x509'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

/** Both in PEM. */
export interface Certified {
  certificate: string
  key: string
}

const DAY_MS = 86_400_000
const CA_DAYS = 365
const SERVER_DAYS = 90
const RENEW_DAYS = 30
/** No person trusts it and nobody watches its end. */
const INTERNAL_DAYS = 3_650
const AUTHORITY_NAME = 'CN=Fairlead local CA'
const NAME_CONSTRAINTS = '2.5.29.30'
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

export interface Authority extends Certified {
  certificateFile: string
  /** Whether it was made just now, so that people have to trust it first. */
  made: boolean
}

/**
 * A certificate authority of this machine's own, kept in `dir`, so that people trust it once a year. It can sign for `hosts` and names
 * under them alone: whoever steals its key can pretend to be nobody else. Made again when it lives no longer than what it would sign, or
 * when it may not sign for a host; then for what it was good for before as well.
 */
export async function ensureAuthority(dir: string, hosts: readonly string[], now = new Date()): Promise<Authority> {
  const certificateFile = join(dir, 'ca.crt')
  const keyFile = join(dir, 'ca.key')
  const known = await Promise.all([readFile(certificateFile, 'utf8'), readFile(keyFile, 'utf8')]).catch(() => undefined)
  const permitted = known ? permittedHosts(known[0]) : []
  const missing = hosts.filter(host => !permitted.includes(host))
  if (known && missing.length === 0 && !endsWithin(known[0], SERVER_DAYS + RENEW_DAYS, now))
    return { certificate: known[0], key: known[1], certificateFile, made: false }
  const made = await newAuthority(AUTHORITY_NAME, [...permitted, ...missing], CA_DAYS, now)
  await mkdir(dir, { recursive: true, mode: 0o700 })
  // The key first: a certificate without its key would be taken for a whole authority by nobody.
  await writeFile(keyFile, made.key, { mode: 0o600 })
  await writeFile(certificateFile, made.certificate)
  return { ...made, certificateFile, made: true }
}

async function newAuthority(name: string, hosts: readonly string[], days: number, now: Date): Promise<Certified> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const authority = await X509CertificateGenerator.createSelfSigned({
    name,
    keys,
    signingAlgorithm: ALGORITHM,
    notBefore: now,
    notAfter: new Date(now.getTime() + days * DAY_MS),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      nameConstraints(hosts),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: authority.toString('pem'), key: await privatePem(keys.privateKey) }
}

/** A certificate for one host inside a cluster, and the authority to believe, whose own key is forgotten: it never signs another. */
export async function issueInternal(host: string, now = new Date()): Promise<Certified & { authority: string }> {
  const authority = await newAuthority(`CN=${host} CA`, [host], INTERNAL_DAYS, now)
  const issued = await issueCertificate(authority, [host], now, INTERNAL_DAYS)
  return { ...issued, authority: authority.certificate }
}

/** These names and those under them, and no IP address (RFC 5280 section 4.2.1.10). */
function nameConstraints(hosts: readonly string[]): Extension {
  const subtrees = (names: Partial<GeneralName>[]) => new GeneralSubtrees(names.map(name => new GeneralSubtree({ base: new GeneralName(name) })))
  const constraints = new NameConstraints({
    permittedSubtrees: subtrees(hosts.map(dNSName => ({ dNSName }))),
    excludedSubtrees: subtrees([{ iPAddress: '0.0.0.0/0' }, { iPAddress: '::/0' }]),
  })
  return new Extension(NAME_CONSTRAINTS, true, AsnConvert.serialize(constraints))
}

function permittedHosts(pem: string): string[] {
  try {
    const extension = new X509Certificate(pem).getExtension(NAME_CONSTRAINTS)
    const { permittedSubtrees } = extension ? AsnConvert.parse(extension.value, NameConstraints) : {}
    return [...(permittedSubtrees ?? [])].flatMap(({ base: { dNSName } }) => dNSName ?? [])
  } catch {
    return []
  }
}

const endsWithin = (pem: string, days: number, now: Date): boolean => new X509Certificate(pem).notAfter.getTime() - now.getTime() < days * DAY_MS

/** A server's certificate for host names, signed by an authority; the chain is leaf first, as TLS servers send it (RFC 8446 section 4.4.2). */
export async function issueCertificate(authority: Certified, hosts: readonly string[], now = new Date(), days = SERVER_DAYS): Promise<Certified> {
  const issuer = new X509Certificate(authority.certificate)
  const signingKey = await webcrypto.subtle.importKey('pkcs8', PemConverter.decode(authority.key)[0] as ArrayBuffer, ALGORITHM, false, ['sign'])
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const leaf = await X509CertificateGenerator.create({
    subject: `CN=${hosts[0]}`,
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    notBefore: now,
    notAfter: new Date(now.getTime() + days * DAY_MS),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(hosts.map(value => ({ type: 'dns', value }))),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  })
  return { certificate: `${leaf.toString('pem')}\n${authority.certificate}`, key: await privatePem(keys.privateKey) }
}

/** Whether a server's certificate is from a local authority, of this machine or another: anybody else's is not ours to replace. */
export function isLocal(pem: string): boolean {
  try {
    return leafOf(pem).issuer === AUTHORITY_NAME
  } catch {
    return false
  }
}

const leafOf = (pem: string) => new X509Certificate(PemConverter.decode(pem)[0] as ArrayBuffer)

/** Whether a server's certificate must be made anew: near its end, not of this authority, or not for this host. */
export function needsRenewal(pem: string, authority: Certified, host: string, now = new Date()): boolean {
  try {
    const leaf = leafOf(pem)
    const hosts =
      leaf
        .getExtension(SubjectAlternativeNameExtension)
        ?.names.toJSON()
        .map(({ value }) => value) ?? []
    const mine = leaf.issuer === new X509Certificate(authority.certificate).subject && pem.includes(authority.certificate.trim())
    return !mine || !hosts.includes(host) || leaf.notAfter.getTime() - now.getTime() < RENEW_DAYS * DAY_MS
  } catch {
    return true
  }
}

const privatePem = async (key: webcrypto.CryptoKey) => PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')
