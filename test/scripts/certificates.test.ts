import { X509Certificate } from 'node:crypto'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer } from 'node:tls'
import { beforeEach, describe, expect, test } from 'vitest'
import { ensureAuthority, issueCertificate, needsRenewal } from '../../scripts/certificates.ts'

const DAY_MS = 86_400_000
const now = new Date('2026-11-24T12:00:00Z')
const after = (days: number) => new Date(now.getTime() + days * DAY_MS)

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-ca-'))
  return () => rm(dir, { recursive: true, force: true })
})

describe('the local authority', () => {
  test('signs certificates for the hosts that are asked for, for 90 days', async () => {
    const authority = await ensureAuthority(dir, now)
    const { certificate } = await issueCertificate(authority, ['shop.localhost', 'localhost'], now)
    const leaf = new X509Certificate(certificate)
    const root = new X509Certificate(authority.certificate)
    expect([root.ca, leaf.ca]).toEqual([true, false])
    expect(leaf.checkIssued(root) && leaf.verify(root.publicKey)).toBe(true)
    expect([leaf.checkHost('shop.localhost'), leaf.checkHost('localhost'), leaf.checkHost('example.org')]).toEqual([
      'shop.localhost',
      'localhost',
      undefined,
    ])
    expect(new Date(leaf.validTo)).toEqual(after(90))
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
  })

  test('is believed by a TLS client that trusts it, and by no other', async () => {
    const authority = await ensureAuthority(dir)
    const { certificate, key } = await issueCertificate(authority, ['shop.localhost'])
    const server = createServer({ cert: certificate, key }, socket => socket.end('hello'))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const handshake = (ca?: string) =>
      new Promise<string>(resolve => {
        const socket = connect({ port, host: '127.0.0.1', servername: 'shop.localhost', ...(ca && { ca }) }, () => resolve('trusted'))
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
      })
    expect(await handshake(authority.certificate)).toBe('trusted')
    expect(await handshake()).toBe('SELF_SIGNED_CERT_IN_CHAIN')
    server.close()
  })

  test('stays the same, and its key is for its owner only', async () => {
    const first = await ensureAuthority(dir)
    expect((await ensureAuthority(dir)).certificate).toBe(first.certificate)
    expect((await stat(join(dir, 'ca.key'))).mode & 0o777).toBe(0o600)
  })
})

describe('a certificate is renewed', () => {
  test.each<[string, number, string, boolean]>([
    ['not while more than 30 days remain', 59, 'shop.localhost', false],
    ['when fewer remain', 61, 'shop.localhost', true],
    ['when it is over', 91, 'shop.localhost', true],
    ['when the host is another', 0, 'store.localhost', true],
  ])('%s', async (_, days, host, renewed) => {
    const authority = await ensureAuthority(dir, now)
    const { certificate } = await issueCertificate(authority, ['shop.localhost', 'localhost'], now)
    expect(needsRenewal(certificate, authority, host, after(days))).toBe(renewed)
  })

  test('when another authority signed it, or it is none', async () => {
    const authority = await ensureAuthority(dir, now)
    const other = await ensureAuthority(join(dir, 'other'), now)
    const { certificate } = await issueCertificate(other, ['shop.localhost'], now)
    expect(needsRenewal(certificate, authority, 'shop.localhost', now)).toBe(true)
    expect(needsRenewal('nonsense', authority, 'shop.localhost', now)).toBe(true)
  })
})
