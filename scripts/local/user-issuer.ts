import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ForeignIssuer } from '@fairlead/chassis'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'

/** Stands in on this machine for an issuer outside the system. Its key lives as long as this process, and only services that it starts believe it. */
export interface UserIssuer {
  /** Where its public keys are. */
  jwksUri: string
  /** Where a token of a user is, as text. */
  tokenUrl(user: string): string
  close(): Promise<void>
}

const LIFETIME = '1h'
const MAX_NAME = 64

/** Listens on a free port of 127.0.0.1: `/keys` has its key set, and `/tokens/NAME` an access token of that user. */
export async function openUserIssuer({ issuer, audience, algorithms = ['ES256'] }: ForeignIssuer): Promise<UserIssuer> {
  const [alg = 'ES256'] = algorithms
  const { publicKey, privateKey } = await generateKeyPair(alg, alg === 'EdDSA' ? { crv: 'Ed25519' } : {})
  const kid = randomUUID()
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }] })
  const sign = (user: string) =>
    new SignJWT()
      .setProtectedHeader({ alg, kid, typ: 'at+jwt' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(user)
      .setJti(randomUUID())
      .setIssuedAt()
      .setExpirationTime(LIFETIME)
      .sign(privateKey)

  const server = createServer(async ({ method, url = '' }, response) => {
    const [, user = ''] = /^\/tokens\/([\w.@-]+)$/.exec(url) ?? []
    if (method !== 'GET' || (url !== '/keys' && (user === '' || user.length > MAX_NAME))) response.writeHead(404).end('try /keys or /tokens/NAME\n')
    else if (url === '/keys') response.writeHead(200, { 'content-type': 'application/json' }).end(keys)
    else response.writeHead(200, { 'content-type': 'text/plain', 'cache-control': 'no-store' }).end(await sign(user))
  })
  const { promise: listens, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject).listen(0, '127.0.0.1', resolve)
  await listens
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    jwksUri: `${origin}/keys`,
    tokenUrl: user => `${origin}/tokens/${user}`,
    close: async () => {
      const closed = new Promise(done => server.close(done))
      server.closeAllConnections()
      await closed
    },
  }
}
