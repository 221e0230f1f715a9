import { expect, test } from 'vitest'
import { http, newCustomer, placeOrder } from './support/shop.ts'
import { cluster, eventually, NAMESPACE, report } from './support/target.ts'

/** Everything that any container in the namespace of the services has written. */
async function allLogs(): Promise<{ where: string; text: string }[]> {
  const pods = await cluster.list('v1', 'Pod', NAMESPACE)
  const containers = pods.flatMap(({ metadata, spec }) =>
    [...(spec.initContainers ?? []), ...spec.containers].map(({ name }: { name: string }) => ({ pod: metadata.name, container: name })),
  )
  return Promise.all(
    containers.map(async ({ pod, container }) => ({
      where: `${pod}/${container}`,
      text: await cluster.logTail(NAMESPACE, pod, container, { lines: 1_000_000 }),
    })),
  )
}

/** Texts of a Secret, and of what its JSON files hold. */
async function secretTexts(name: string): Promise<string[]> {
  const secret = await cluster.read({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: NAMESPACE } })
  return Object.values(secret?.data ?? {}).flatMap(encoded => {
    const text = Buffer.from(encoded, 'base64').toString()
    return text.startsWith('{') ? [JSON.parse(text).d] : [text]
  })
}

test('no log has a secret or personal data', async () => {
  const customer = await newCustomer()
  await http('POST', '/sessions', { body: { email: customer.email, password: `${customer.password}-wrong` } })
  await http('GET', '/users/me', { token: `${customer.token.slice(0, -4)}AAAA` })
  await http('GET', `/orders?cursor=${customer.email}`, { token: customer.token })
  expect((await placeOrder(customer.token)).status).toBeLessThan(300)
  const databases = (await Promise.all(['user-database', 'order-database', 'postgres-roles', 'postgres', 'signing-keys'].map(secretTexts))).flat()
  const secrets = [customer.email, customer.password, customer.token, customer.token.split('.')[2] as string, ...databases]
  expect(secrets.every(secret => typeof secret === 'string' && secret.length > 12)).toBe(true)

  // Lines are written in blocks, up to a second later.
  const logs = await eventually(
    allLogs,
    found => expect(found.filter(({ text }) => text.includes('"route":"/sessions","status":401')).length).toBeGreaterThan(0),
    15_000,
  )
  const found = logs.flatMap(({ where, text }) => secrets.flatMap((secret, index) => (text.includes(secret) ? [`${where} has secret ${index}`] : [])))
  const bytes = logs.reduce((sum, { text }) => sum + text.length, 0)
  report(`${logs.length} logs of ${Math.round(bytes / 1_024)} KiB without any of ${secrets.length} secrets`)
  expect(found).toEqual([])
})
