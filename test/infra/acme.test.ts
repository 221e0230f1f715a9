import { readFile } from 'node:fs/promises'
import { beforeAll, expect, test } from 'vitest'
import { refuseImpossible } from '../../infra/kit/checks/refuse.ts'
import { bundledDashboards, toJson } from '../../infra/kit/dashboards/dashboards.ts'
import { diagramMermaid } from '../../infra/kit/diagram/mermaid.ts'
import { diagramSvg } from '../../infra/kit/diagram/svg.ts'
import { helmChart } from '../../infra/kit/helm/chart.ts'
import { describeSettings, loadSettings } from '../../infra/kit/settings/settings.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { images, project, system } from '../support/acme.ts'
import { EXISTING } from '../support/existing-platform.ts'

const messageOf = (call: () => unknown): string => {
  try {
    call()
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('nothing was refused')
}

/** Everything that the kit writes for a system, by what it is. */
const written = new Map<string, string>()
beforeAll(async () => {
  const bundled = loadSettings({ GRAFANA: 'true' }, system)
  const existing = loadSettings({ ...EXISTING, ROUTE: 'gateway', USERS_JWKS_CIDR: '192.0.2.0/24' }, system)
  for (const [name, settings] of Object.entries({ bundled, existing })) {
    const { own, platform } = synthesize({ ...project, settings, images })
    written.set(`manifests ${name}`, JSON.stringify([own, platform], undefined, 1))
  }
  for (const [path, content] of helmChart(project, bundled, { hello: '1', stock: '1', booking: '1' })) written.set(`chart ${path}`, content)
  for (const [name, dashboard] of bundledDashboards({ ...project, settings: bundled })) written.set(`dashboard ${name}`, toJson(dashboard))
  written.set('diagram.mmd', diagramMermaid(system)).set('diagram.svg', diagramSvg(system))
  written.set('settings', describeSettings(system))
  written.set(
    'refused settings',
    messageOf(() => loadSettings({ HOST: '_', NAMESPACE: '_', IMAGES: 'x=y', BOOKING_MAX_OPN: '1' }, system)),
  )
  written.set(
    'refused objects',
    messageOf(() =>
      refuseImpossible({
        ...project,
        images,
        settings: { ...bundled, INGRESS_IDLE_MS: 100_000, TRUSTED_HOPS: 3 },
        objects: synthesize({ ...project, settings: bundled, images }).own.map(object =>
          JSON.parse(JSON.stringify(object).replaceAll(':1.0.0', ':latest')),
        ),
      }),
    ),
  )
  written.set('the image', await readFile('infra/kit/image/Dockerfile', 'utf8'))
})

/** Names of services are in lower case, so that `USER` of a Dockerfile and `runAsUser` are none; their variables begin with them. */
const FOREIGN = /.{0,60}(?:\b(?:[Ss]hop|user|order)\b|\b(?:SHOP|USER|ORDER)_|infra\/kit|services\/chassis).{0,60}/g

test('the kit writes nothing for a system that names the services of this repository, or its paths', () => {
  expect(written.size).toBeGreaterThan(40)
  const found = [...written].flatMap(([what, text]) => [...text.matchAll(FOREIGN)].map(([line]) => `${what}: ${line}`))
  expect(found).toEqual([])
})

test('and names the services that the system has', () => {
  for (const name of ['hello', 'stock', 'booking']) {
    expect(written.get('manifests bundled')).toContain(`"name": "${name}"`)
    expect(written.get('diagram.svg')).toContain(name)
  }
})
