import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { system } from '../../infra/system.ts'
import { notedSecrets, noteSecrets } from './support/secrets.ts'
import { http, newCustomer, placeOrder } from './support/shop.ts'
import { cluster, eventually, NAMESPACE, report } from './support/target.ts'

/** What containers have written since the run began. */
async function allLogs(): Promise<{ name: string; text: string }[]> {
  const names = (await readdir(inject('logs'))).filter(name => name.endsWith('.log'))
  return Promise.all(names.map(async name => ({ name, text: await readFile(join(inject('logs'), name), 'utf8') })))
}

/** Texts of a Secret, and of what its JSON files hold. */
async function secretTexts(name: string): Promise<string[]> {
  const secret = await cluster.read({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: NAMESPACE } })
  return Object.values(secret?.data ?? {}).flatMap(encoded => {
    const text = Buffer.from(encoded, 'base64').toString()
    return text.startsWith('{') ? [JSON.parse(text).d] : [text]
  })
}

/** What no line may look like, whoever the customer was. */
const PATTERNS: Record<string, RegExp> = {
  'an e-mail address': /[\w.+-]+@example\.org/i,
  'a token': /eyJ[\w-]{10,}\.eyJ[\w-]{10,}/,
  'a password hash': /\$argon2id\$/,
  'a URL with a password': /postgres:\/\/[^:\s]+:[^@\s]+@/,
}

test('no log of the whole run has a secret or personal data', async () => {
  const customer = await newCustomer()
  const wrong = `${customer.password}-wrong`
  const cut = `${customer.token.slice(0, -4)}AAAA`
  noteSecrets(wrong, cut)
  await http('POST', '/sessions', { body: { email: customer.email, password: wrong } })
  await http('GET', '/users/me', { token: cut })
  await http('GET', `/orders?cursor=${customer.email}`, { token: customer.token })
  expect((await placeOrder(customer.token)).status).toBeLessThan(300)
  const databases = (
    await Promise.all(
      ['user-database', 'user-database-owner', 'order-database', 'order-database-owner', 'postgres-roles', 'postgres', 'signing-keys'].map(
        secretTexts,
      ),
    )
  ).flat()
  const secrets = [...new Set([...notedSecrets(), ...databases])]
  expect(secrets.every(secret => typeof secret === 'string' && secret.length > 12)).toBe(true)

  // Lines are written in blocks, up to a second later.
  const logs = await eventually(
    allLogs,
    found => expect(found.filter(({ text }) => /"route":"\/sessions","status":401/.test(text)).length).toBeGreaterThan(0),
    15_000,
  )
  const found = logs.flatMap(({ name, text }) => [
    ...secrets.flatMap((secret, index) => (text.includes(secret) ? [`${name} has secret ${index}`] : [])),
    ...Object.entries(PATTERNS).flatMap(([what, pattern]) => (pattern.test(text) ? [`${name} has ${what}`] : [])),
  ])
  const bytes = logs.reduce((sum, { text }) => sum + text.length, 0)
  report(
    `${logs.length} logs of ${Math.round(bytes / 1_024)} KiB without any of ${secrets.length} secrets or ${Object.keys(PATTERNS).length} patterns`,
  )
  expect(found).toEqual([])
})

test('each request is one line of JSON that says what it was and how it ended', async () => {
  const traceId = `${'0'.repeat(15)}1${'a'.repeat(16)}`
  const answer = await http('GET', '/products/no-such-thing', { headers: { traceparent: `00-${traceId}-${'b'.repeat(16)}-01` } })
  expect(answer.status).toBe(404)
  const lines = await eventually(
    async () => (await allLogs()).flatMap(({ text }) => text.split('\n').filter(line => line.includes(traceId))),
    found => expect(found.length).toBeGreaterThan(0),
    15_000,
  )
  expect(lines).toHaveLength(1)
  const line = JSON.parse(lines[0] as string)
  expect(line).toMatchObject({
    level: 'warn',
    service: 'order',
    trace_id: traceId,
    method: 'GET',
    route: '/products/{sku}',
    status: 404,
    code: 'unknown-sku',
  })
  expect([typeof line.duration_ms, typeof line.bytes, new Date(line.time).toISOString()]).toEqual(['number', 'number', line.time])
  expect(system.services.map(({ name }) => name)).toContain(line.service)
})
