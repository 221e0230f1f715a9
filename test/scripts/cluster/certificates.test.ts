import 'reflect-metadata'
import { webcrypto, X509Certificate } from 'node:crypto'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer } from 'node:tls'
import { X509CertificateGenerator } from '@peculiar/x509'
import { beforeEach, describe, expect, test } from 'vitest'
import { ensureAuthority, issueCertificate, needsRenewal } from '../../../scripts/cluster/certificates.ts'

const DAY_MS = 86_400_000
const now = new Date('2026-11-24T12:00:00Z')
const HOSTS = ['acme.localhost', 'localhost']
const inDays = (days: number) => new Date(now.getTime() + days * DAY_MS)

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-ca-'))
  return () => rm(dir, { recursive: true, force: true })
})

const handshake = (port: number, servername: string, ca?: string) =>
  new Promise<string>(resolve => {
    const socket = connect({ port, host: '127.0.0.1', servername, ...(ca && { ca }) }, () => resolve('trusted'))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'UNSPECIFIED' ? error.message : (error.code ?? '')))
  })

describe('the local authority', () => {
  test('signs certificates for the hosts that are asked for, for 90 days', async () => {
    const authority = await ensureAuthority(dir, HOSTS, now)
    const { certificate } = await issueCertificate(authority, ['acme.localhost', 'localhost'], now)
    const leaf = new X509Certificate(certificate)
    const root = new X509Certificate(authority.certificate)
    expect([root.ca, leaf.ca]).toEqual([true, false])
    expect(leaf.checkIssued(root) && leaf.verify(root.publicKey)).toBe(true)
    expect([leaf.checkHost('acme.localhost'), leaf.checkHost('localhost'), leaf.checkHost('example.org')]).toEqual([
      'acme.localhost',
      'localhost',
      undefined,
    ])
    expect(new Date(leaf.validTo)).toEqual(inDays(90))
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
  })

  test('is believed by a TLS client that trusts it, and by no other', async () => {
    const authority = await ensureAuthority(dir, HOSTS)
    const { certificate, key } = await issueCertificate(authority, ['acme.localhost'])
    const server = createServer({ cert: certificate, key }, socket => socket.end('hello'))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    expect(await handshake(port, 'acme.localhost', authority.certificate)).toBe('trusted')
    expect(await handshake(port, 'acme.localhost')).toBe('SELF_SIGNED_CERT_IN_CHAIN')
    server.close()
  })

  test.each(['acme.localhost', 'a.acme.localhost', 'acme.example.org', 'localhost.example.org'])(
    'is believed for %s only if that is its own',
    async name => {
      const authority = await ensureAuthority(dir, ['acme.localhost'])
      const { certificate, key } = await issueCertificate(authority, [name])
      const server = createServer({ cert: certificate, key }, socket => socket.end())
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      const own = name.endsWith('acme.localhost')
      expect(await handshake(port, name, authority.certificate)).toBe(own ? 'trusted' : 'permitted subtree violation')
      server.close()
    },
  )

  test('lives for a year, and is made again before it ends before what it signs', async () => {
    const first = await ensureAuthority(dir, HOSTS, now)
    expect(new Date(new X509Certificate(first.certificate).validTo)).toEqual(inDays(365))
    const kept = await ensureAuthority(dir, HOSTS, inDays(365 - 120))
    expect([kept.made, kept.certificate]).toEqual([false, first.certificate])
    const renewed = await ensureAuthority(dir, HOSTS, inDays(365 - 119))
    expect([renewed.made, renewed.certificate === first.certificate]).toEqual([true, false])
  })

  test('is made again for a host that it may not sign for, and keeps those that it may', async () => {
    const first = await ensureAuthority(dir, HOSTS)
    const second = await ensureAuthority(dir, ['depot.localhost', 'localhost'])
    expect([first.made, second.made]).toEqual([true, true])
    for (const host of ['acme.localhost', 'depot.localhost']) expect((await ensureAuthority(dir, [host])).certificate).toBe(second.certificate)
  })

  test('without constraints, as earlier ones were, is made again', async () => {
    const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
    const old = await X509CertificateGenerator.createSelfSigned({ name: 'CN=Fairlead local CA', keys, notAfter: inDays(3_650) })
    await writeFile(join(dir, 'ca.crt'), old.toString('pem'))
    await writeFile(join(dir, 'ca.key'), '')
    expect((await ensureAuthority(dir, HOSTS)).made).toBe(true)
  })

  test('stays the same, and its key is for its owner only', async () => {
    const first = await ensureAuthority(dir, HOSTS)
    expect((await ensureAuthority(dir, HOSTS)).certificate).toBe(first.certificate)
    expect((await stat(join(dir, 'ca.key'))).mode & 0o777).toBe(0o600)
  })
})

describe('a certificate is renewed', () => {
  test.each<[string, number, string, boolean]>([
    ['not while more than 30 days remain', 59, 'acme.localhost', false],
    ['when fewer remain', 61, 'acme.localhost', true],
    ['when it is over', 91, 'acme.localhost', true],
    ['when the host is another', 0, 'depot.localhost', true],
  ])('%s', async (_, days, host, renewed) => {
    const authority = await ensureAuthority(dir, HOSTS, now)
    const { certificate } = await issueCertificate(authority, ['acme.localhost', 'localhost'], now)
    expect(needsRenewal(certificate, authority, host, inDays(days))).toBe(renewed)
  })

  test('when another authority signed it, or it is none', async () => {
    const authority = await ensureAuthority(dir, HOSTS, now)
    const other = await ensureAuthority(join(dir, 'other'), HOSTS, now)
    const { certificate } = await issueCertificate(other, ['acme.localhost'], now)
    expect(needsRenewal(certificate, authority, 'acme.localhost', now)).toBe(true)
    expect(needsRenewal('nonsense', authority, 'acme.localhost', now)).toBe(true)
  })
})
