import { describe, expect, test } from 'vitest'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { images, project, system } from '../../support/acme.ts'

const { own, platform } = synthesize({ ...project, settings: loadSettings({}, system), images })
// biome-ignore lint/suspicious/noExplicitAny: tests read a few fields of many kinds
const find = (kind: string, name: string, objects: readonly Manifest[] = own): any =>
  objects.find(object => object.kind === kind && object.metadata.name === name)

interface Rule {
  from?: object[]
  to?: object[]
  ports: { port: number }[]
}

/** Ports that a rule of a policy opens between its pods and those of one name. */
const portsWith = (rules: Rule[], name: string) =>
  rules.filter(({ from, to }) => JSON.stringify(from ?? to ?? []).includes(`"${name}"`)).flatMap(({ ports }) => ports.map(({ port }) => port))

describe('a service that is served by gRPC', () => {
  const { containers } = find('Deployment', 'stock').spec.template.spec

  test('listens on a port of its own, and says so', () => {
    expect(containers[0].ports).toEqual([
      { name: 'http', containerPort: 8_081 },
      { name: 'grpc', containerPort: 8_091 },
      { name: 'admin', containerPort: 9_090 },
    ])
    expect(containers[0].env).toContainEqual({ name: 'GRPC_PORT', value: '8091' })
  })

  test('is probed by HTTP, on the admin port', () => {
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) expect(containers[0][probe].httpGet.port).toBe('admin')
  })

  test.each(['stock', 'stock-pods'])('has that port in the Service %s, as HTTP/2 without TLS', name => {
    expect(find('Service', name).spec.ports).toContainEqual({ name: 'grpc', port: 8_091, targetPort: 'grpc', appProtocol: 'kubernetes.io/h2c' })
  })

  test('is reached there by whose edge says gRPC, and by HTTP no more', () => {
    const { ingress } = find('NetworkPolicy', 'stock').spec
    const { egress } = find('NetworkPolicy', 'booking').spec
    expect(portsWith(ingress, 'booking')).toEqual([8_091])
    expect(portsWith(egress, 'stock')).toEqual([8_091])
    expect(portsWith(egress, 'hello')).toEqual([8_080])
  })

  test('is reached by HTTP alone from the ingress', () => {
    expect(portsWith(find('NetworkPolicy', 'stock').spec.ingress, 'traefik')).toEqual([8_081])
    expect(portsWith(find('NetworkPolicy', 'traefik', platform).spec.egress, 'stock')).toEqual([8_081])
    expect(find('Ingress', 'stock').spec.rules[0].http.paths[0].backend.service.port).toEqual({ name: 'http' })
  })
})

test('a service without gRPC has none of its ports', () => {
  const objects = own.filter(({ metadata: { name } }) => ['hello', 'hello-pods'].includes(name))
  expect(JSON.stringify(objects)).not.toMatch(/GRPC_PORT|h2c|"grpc"/)
})
