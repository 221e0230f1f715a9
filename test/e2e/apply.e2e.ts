import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { imageReferences } from '../../infra/kit/image/image.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { app } from '../../infra/main.ts'
import { applyAll } from '../../scripts/cluster/apply.ts'
import { takeJourney } from './support/journey.ts'
import { http } from './support/shop.ts'
import { cluster, context, report, settings } from './support/target.ts'

const { signal } = new AbortController()
const run = promisify(execFile)

test('a client can take the journey through the ingress', async () => {
  expect(await takeJourney()).toMatch(/order\.placeOrder 20[12], order\.getOrder 200/)
})

test('only what the contracts open is reached from outside', async () => {
  const statusOf = async (path: string) => [path, (await http('GET', path)).status]
  const paths = [
    '/products',
    '/openapi/user.json',
    '/openapi/order.json',
    '/orders',
    '/orders-report',
    '/openapi.json',
    '/metrics',
    '/livez',
    '/reservations/x',
  ]
  expect(Object.fromEntries(await Promise.all(paths.map(statusOf)))).toEqual({
    '/products': 200,
    '/openapi/user.json': 200,
    '/openapi/order.json': 200,
    '/orders': 401,
    '/orders-report': 404,
    '/openapi.json': 404,
    '/metrics': 404,
    '/livez': 404,
    '/reservations/x': 404,
  })
})

test('a deadline from outside is not obeyed', async () => {
  // Inside the cluster this header would be refused with 400.
  expect((await http('GET', '/products', { headers: { 'x-request-timeout-ms': 'soon' } })).status).toBe(200)
})

test('applying everything again changes nothing', async () => {
  const { own, platform } = synthesize({ ...app, settings, images: await imageReferences(app, settings) })
  // Once for whatever somebody has changed by hand.
  await applyAll(cluster, [...platform, ...own], { signal })
  const { counts, changed } = await applyAll(cluster, [...platform, ...own], { signal })
  report(`${counts.unchanged} objects unchanged`)
  expect(changed).toEqual([])
  expect(counts.unchanged).toBe(platform.length + own.length)
})

test('kubectl diff of dist/ is empty', async test => {
  const API_SERVER = settings.API_SERVER.map(({ address, port }) => `${address.includes(':') ? `[${address}]` : address}:${port}`).join(',')
  const env = { ...process.env, API_SERVER, CDK8S_OUTDIR: 'dist/e2e' }
  await run(process.execPath, ['--disable-warning=ExperimentalWarning', 'infra/main.ts'], { env })
  const diff = await run('kubectl', ['--context', context, 'diff', '--server-side', '--field-manager=fairlead', '-f', 'dist/e2e']).catch(
    error => error,
  )
  if (diff.code === 'ENOENT') return test.skip('kubectl is not installed')
  expect([diff.code ?? 0, diff.stdout]).toEqual([0, ''])
})
