import { ApiObject, App, Chart, JsonPatch } from 'cdk8s'
import { describe, expect, test } from 'vitest'
import { Alerts, Dashboards, Postgres, WebService } from '../../../infra/kit/constructs.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { booking, hello, images, project, system } from '../../support/acme.ts'

const settings = loadSettings({}, system)
const props = { ...project, settings }
const ownChart = () => new Chart(new App(), 'own')
const keyOf = ({ kind, metadata }: { kind: string; metadata: { name?: string } }) => `${kind} ${metadata.name}`
const { own } = synthesize({ ...props, images })

test('in a chart of its own each makes the objects that it makes in the system', () => {
  const chart = ownChart()
  new WebService(chart, 'booking', { ...props, service: booking, image: images.booking })
  new Postgres(chart, 'postgres', props)
  new Dashboards(chart, 'dashboards', props)
  const made = chart.toJson()
  expect(made.length).toBeGreaterThan(15)
  expect(own).toEqual(expect.arrayContaining(made))
})

describe('a WebService', () => {
  const webService = (chart = ownChart()) => new WebService(chart, 'booking', { ...props, service: booking, image: images.booking })

  test('exposes the objects that it made, so that a team adds to them', () => {
    const made = webService()
    made.deployment.metadata.addAnnotation('team', 'blue')
    made.autoscaler.metadata.addLabel('team', 'blue')
    expect(made.deployment.toJson().metadata.annotations).toMatchObject({ team: 'blue' })
    const labelled = Chart.of(made)
      .toJson()
      .filter(({ metadata }) => metadata.labels.team === 'blue')
    expect(labelled.map(keyOf)).toEqual(['HorizontalPodAutoscaler booking'])
  })

  test('exposes each of them', () => {
    const chart = ownChart()
    const { serviceAccount, deployment, service, pods, autoscaler, disruptionBudget, networkPolicy, monitor, alerts, route } = webService(chart)
    const exposed = [
      serviceAccount,
      deployment,
      service,
      pods,
      autoscaler,
      disruptionBudget,
      networkPolicy,
      monitor,
      alerts.rules,
      route as ApiObject,
    ]
    expect(exposed.map(keyOf).sort()).toEqual(chart.toJson().map(keyOf).sort())
  })

  test('refuses a patch that its class drops, of constructs as of classes', () => {
    const { serviceAccount, deployment } = webService()
    for (const object of [ApiObject.of(serviceAccount), deployment]) {
      object.addJsonPatch(JsonPatch.add('/metadata/newer', 'field'))
      expect(() => object.toJson()).toThrow(`${object.kind} booking: cdk8s-plus-27 drops metadata.newer`)
    }
  })

  test('may take longer to leave', () => {
    const { deployment } = new WebService(ownChart(), 'booking', { ...props, service: booking, image: images.booking, graceSeconds: 90 })
    expect(deployment.toJson().spec.template.spec.terminationGracePeriodSeconds).toBe(90)
    expect(webService().deployment.toJson().spec.template.spec.terminationGracePeriodSeconds).toBe(30)
  })

  test('is of a service of its system', () => {
    const service = { ...hello, name: 'stranger' }
    expect(() => new WebService(ownChart(), 'stranger', { ...props, service, image: 'registry.example/stranger:1' })).toThrow(
      'the service stranger is not in the system acme: hello, stock, booking',
    )
  })
})

test('a Postgres has as much storage as it is told, and a system to store for', () => {
  const storageOf = (postgres: Postgres) => postgres.statefulSet.toJson().spec.volumeClaimTemplates[0].spec.resources.requests.storage
  expect(storageOf(new Postgres(ownChart(), 'postgres', props))).toBe('1Gi')
  expect(storageOf(new Postgres(ownChart(), 'postgres', { ...props, storage: '5Gi' }))).toBe('5Gi')
  const stateless = { ...system, services: [hello] }
  expect(() => new Postgres(ownChart(), 'postgres', { ...props, system: stateless })).toThrow('no service of the system acme has a database')
})

test('Alerts and Dashboards stand without the rest', () => {
  const chart = ownChart()
  expect(new Alerts(chart, 'alerts', { ...props, service: hello }).rules.toJson().kind).toBe('PrometheusRule')
  expect([...new Dashboards(chart, 'dashboards', props).configMaps.keys()]).toEqual(['overview', 'runbooks', 'hello', 'stock', 'booking'])
})
