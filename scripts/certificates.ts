// @peculiar/x509 wants this to be there before it.
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
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
const CA_DAYS = 3_650
const SERVER_DAYS = 90
const RENEW_DAYS = 30
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/** A certificate authority of this machine's own, kept in `dir`, so that people trust it once. */
export async function ensureAuthority(dir: string, now = new Date()): Promise<Certified & { certificateFile: string }> {
  const certificateFile = join(dir, 'ca.crt')
  const keyFile = join(dir, 'ca.key')
  const known = await Promise.all([readFile(certificateFile, 'utf8'), readFile(keyFile, 'utf8')]).catch(() => undefined)
  if (known) return { certificate: known[0], key: known[1], certificateFile }
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const authority = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=Fairlead local CA',
    keys,
    signingAlgorithm: ALGORITHM,
    notBefore: now,
    notAfter: new Date(now.getTime() + CA_DAYS * DAY_MS),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const made = { certificate: authority.toString('pem'), key: await privatePem(keys.privateKey) }
  await mkdir(dir, { recursive: true, mode: 0o700 })
  // The key first: a certificate without its key would be taken for a whole authority by nobody.
  await writeFile(keyFile, made.key, { mode: 0o600 })
  await writeFile(certificateFile, made.certificate)
  return { ...made, certificateFile }
}

/** A server's certificate for host names, signed by an authority; the chain is leaf first, as TLS servers send it (RFC 8446 section 4.4.2). */
export async function issueCertificate(authority: Certified, hosts: readonly string[], now = new Date()): Promise<Certified> {
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
    notAfter: new Date(now.getTime() + SERVER_DAYS * DAY_MS),
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

/** Whether a server's certificate must be made anew: near its end, not of this authority, or not for this host. */
export function needsRenewal(pem: string, authority: Certified, host: string, now = new Date()): boolean {
  try {
    const leaf = new X509Certificate(PemConverter.decode(pem)[0] as ArrayBuffer)
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
