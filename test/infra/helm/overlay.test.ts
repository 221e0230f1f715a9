import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { COLLECTOR_CONFIG } from '../../../infra/kit/constructs/tracing-sidecar.ts'
import { helmChart } from '../../../infra/kit/helm/chart.ts'
import type { Manifest, Overlay } from '../../../infra/kit/objects/manifest.ts'
import { chartSettings } from '../../../infra/kit/settings/settings.ts'
import { project, system } from '../../support/acme.ts'
import { hasHelm, render } from '../../support/helm.ts'

// biome-ignore lint/suspicious/noExplicitAny: the tests look deep into objects
type Loose = any

const chartOf = (overlay?: Overlay) =>
  helmChart({ ...project, ...(overlay && { overlay }) } as never, chartSettings(system), { hello: '1', stock: '1', booking: '1' })
const find = (objects: readonly Manifest[], kind: string, name: string): Loose =>
  objects.find(made => made.kind === kind && made.metadata.name === name)

/** An overlay of one object, which it is given to change. */
const on =
  (kind: string, name: string, change: (object: Loose) => void): Overlay =>
  object => {
    if (object.kind === kind && object.metadata.name === name) change(object)
    return object
  }

describe.runIf(hasHelm())('the chart keeps what an overlay adds:', () => {
  test('a volume of a Secret', async () => {
    const volume = { name: 'truststore', secret: { secretName: 'company-ca' } }
    const objects = await render(chartOf(on('Deployment', 'stock', ({ spec }) => spec.template.spec.volumes.push(volume))))
    expect(find(objects, 'Deployment', 'stock').spec.template.spec.volumes).toContainEqual(volume)
  })

  test('an init container without environment', async () => {
    const container = { name: 'first', image: 'registry.example/first:1.0.0' }
    const objects = await render(chartOf(on('Deployment', 'hello', ({ spec }) => spec.template.spec.initContainers.unshift(container))))
    expect(find(objects, 'Deployment', 'hello').spec.template.spec.initContainers[0]).toEqual(container)
  })

  test('a network rule without ports, and one beside those of the kit', async () => {
    const office = { ipBlock: { cidr: '192.0.2.0/24' } }
    const objects = await render(
      chartOf(
        on('NetworkPolicy', 'booking', ({ spec }) => {
          spec.egress.push({ to: [office] })
          for (const rule of spec.egress) if (rule.ports?.[0].port === 5_432) rule.to.push(office)
        }),
      ),
    )
    const { egress } = find(objects, 'NetworkPolicy', 'booking').spec
    expect(egress).toContainEqual({ to: [office] })
    expect(egress.find(({ ports }: Loose) => ports?.[0].port === 5_432).to).toContainEqual(office)
  })

  test('a collector of one service', async () => {
    const objects = await render(
      chartOf(
        on('Deployment', 'hello', ({ spec }) => {
          for (const { env = [] } of spec.template.spec.initContainers)
            for (const variable of env) if (variable.name === COLLECTOR_CONFIG) variable.value = 'receivers: {}'
        }),
      ),
    )
    const configOf = (name: string) =>
      find(objects, 'Deployment', name).spec.template.spec.initContainers[0].env.find((variable: Loose) => variable.name === COLLECTOR_CONFIG).value
    expect(configOf('hello')).toBe('receivers: {}')
    expect(configOf('stock')).toContain('processors:')
  })
})

test("the chart refuses an overlay of the rule to users' keys, which is a value", () => {
  const overlay = on('NetworkPolicy', 'booking', ({ spec }) => {
    for (const { to = [] } of spec.egress) for (const { ipBlock } of to) if (ipBlock) ipBlock.except = ['169.254.169.254/32']
  })
  expect(() => chartOf(overlay)).toThrow("an overlay changes the rule to where users' keys are")
})

describe('values begin with what an overlay makes of', () => {
  const valuesOf = (overlay: Overlay) => parse(chartOf(overlay).get('values.yaml') as string).services.stock

  test('the bounds of the autoscaler', () => {
    const bounds = on('HorizontalPodAutoscaler', 'stock', ({ spec }) => Object.assign(spec, { minReplicas: 5, maxReplicas: 50 }))
    expect(valuesOf(bounds)).toMatchObject({ minReplicas: 5, maxReplicas: 50 })
  })

  test('resources, whichever there are', () => {
    const roomy = on('Deployment', 'stock', ({ spec }) => {
      const [container] = spec.template.spec.containers
      container.resources.requests.memory = '1Gi'
      container.resources.limits = { memory: '2Gi' }
    })
    expect(valuesOf(roomy).resources).toEqual({ requests: { cpu: '100m', memory: '1Gi' }, limits: { memory: '2Gi' } })
  })

  test('names of Secrets', () => {
    const own = on('Deployment', 'stock', ({ spec }) => {
      for (const { name, secret } of spec.template.spec.volumes) if (name === 'database') secret.secretName = 'stock-of-the-company'
    })
    expect(valuesOf(own).secrets).toMatchObject({ database: 'stock-of-the-company', 'database-owner': 'stock-database-owner' })
  })
})

test.runIf(hasHelm())('an overlay of resources changes the container that it means, and values that alone', async () => {
  const chart = chartOf(
    on('Deployment', 'stock', ({ spec }) => Object.assign(spec.template.spec.containers[0].resources, { limits: { memory: '2Gi' } })),
  )
  const containers = (objects: readonly Manifest[]) => {
    const { initContainers, containers: serving } = find(objects, 'Deployment', 'stock').spec.template.spec
    return [...initContainers, ...serving].flatMap(({ name, resources }) => (['migrate', 'stock'].includes(name) ? [resources.limits.memory] : []))
  }
  expect(containers(await render(chart))).toEqual(['384Mi', '2Gi'])
  const values = { services: { stock: { resources: { requests: { cpu: '100m', memory: '1Gi' }, limits: { memory: '3Gi' } } } } }
  expect(containers(await render(chart, values))).toEqual(['384Mi', '3Gi'])
})

describe.runIf(hasHelm())("the issuer of users' tokens", () => {
  const rulesTo443 = (objects: readonly Manifest[]) =>
    find(objects, 'NetworkPolicy', 'booking').spec.egress.filter(({ ports }: Loose) => ports[0].port === 443)

  test('is at any address until a value says where', async () => {
    const ports = [{ port: 443, protocol: 'TCP' }]
    const [any, here] = ['0.0.0.0/0', '192.0.2.0/24'].map(cidr => ({ ipBlock: { cidr } }))
    expect(rulesTo443(await render(chartOf()))).toEqual([{ to: [any, { ipBlock: { cidr: '::/0' } }], ports }])
    expect(rulesTo443(await render(chartOf(), { users: { peers: [here] } }))).toEqual([{ to: [here], ports }])
    await expect(render(chartOf(), { users: { peers: [] } })).rejects.toThrow('/users/peers')
  })
})
