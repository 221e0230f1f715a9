import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { DASHBOARD } from '../../infra/kit/dashboards/dashboards.ts'
import type { Manifest } from '../../infra/kit/objects/manifest.ts'
import { loadSettings } from '../../infra/kit/settings/settings.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { app } from '../../infra/main.ts'
import { openApi } from '../../services/chassis/contract/openapi.ts'
import { createMetrics } from '../../services/chassis/telemetry/metrics.ts'
import { EXISTING } from '../support/existing-platform.ts'
import { ACCEPTED, has, withoutAccepted } from './accepted-differences.ts'

// What a change of the kit's own shape must leave as it is. A change that means to write something else updates them: npx vitest -u.
// The manifests are those that the kit wrote before it was built on cdk8s-plus, so what that adds is named in accepted-differences.ts.

const { system: shop } = app
/** The real tags are digests of the sources. */
const images = Object.fromEntries(shop.services.map(({ name }) => [name, `fairlead/${name}:fixed`]))

const bundled = () => Object.values(synthesize({ ...app, settings: loadSettings({}, shop), images })).flat()

test('the manifests of the shop', async () => {
  const objects = bundled().filter(isNoDashboard).map(withoutAccepted)
  await expect(objects.map(toYaml).join('---\n')).toMatchFileSnapshot('snapshots/manifests.yaml')
})

test('what the shop has of its own on an existing platform', async () => {
  const { own: objects } = synthesize({ ...app, settings: loadSettings({ ...EXISTING, ROUTE: 'gateway' }, shop), images })
  const lines = objects.map(withoutAccepted).map(object => `${object.kind} ${object.metadata.name} ${digestOf(object)}\n`)
  await expect(lines.join('')).toMatchFileSnapshot('snapshots/digests-existing.txt')
})

test.each(ACCEPTED)('every $kind has $path: $value, for which a cluster does the same: $reason', difference => {
  const objects = bundled().filter(({ kind }) => kind === difference.kind)
  expect(objects.length).toBeGreaterThan(0)
  for (const object of objects) expect(has(object, difference), object.metadata.name).toBe(true)
})

test.each(shop.services)('the OpenAPI document of $name', async ({ name, contract }) => {
  const { paths, ...rest } = openApi(contract, { title: name, version: '1', description: name })
  const lines = [...Object.entries(paths as object), ...Object.entries(rest)].map(([key, value]) => `${key} ${JSON.stringify(value)}\n`)
  await expect(lines.join('')).toMatchFileSnapshot(`snapshots/openapi-${name}.txt`)
})

test('the metrics of every service', async () => {
  const metrics = await createMetrics().registry.getMetricsAsJSON()
  const lines = metrics.map(({ name, type, help }) => `${name} ${type} ${help}\n`).sort()
  await expect(lines.join('')).toMatchFileSnapshot('snapshots/metrics.txt')
})

/** Those are long, and in charts/ as they are. */
const isNoDashboard = ({ metadata: { labels } }: Manifest) => labels?.['app.kubernetes.io/component'] !== DASHBOARD

const toYaml = (object: Manifest) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false })

const digestOf = (object: Manifest) => createHash('sha256').update(JSON.stringify(object)).digest('hex').slice(0, 12)
