import { describe, expect, test } from 'vitest'
import { registryRules, registryVariables } from '../../../infra/kit/constructs/registry.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { booking, hello, images, project, system } from '../../support/acme.ts'

const settings = (env: Record<string, string> = {}) => loadSettings(env, system)
const ELSEWHERE = { CALLEES: 'stock=srv:stock.service.consul', CALLEES_AT: '10.1.0.0/16:8080' }
const peer = (cidr: string) => ({ ipBlock: { cidr } })

describe('registryVariables', () => {
  test('say how callees are found', () => {
    expect(registryVariables(settings(), booking)).toEqual({ DISCOVERY: 'dns', DISCOVERY_DOMAIN: 'cluster.local' })
  })

  test('are none for a service that calls nobody', () => {
    expect(registryVariables(settings({ ...ELSEWHERE, DISCOVERY_SERVER: '10.0.0.2' }), hello)).toEqual({})
  })

  test('name DNS servers, and where a callee is that is elsewhere', () => {
    const env = { ...ELSEWHERE, DISCOVERY: 'srv', DISCOVERY_DOMAIN: 'example.org', DISCOVERY_SERVER: '10.0.0.2:8600,fd00::2' }
    expect(registryVariables(settings(env), booking)).toEqual({
      DISCOVERY: 'srv',
      DISCOVERY_DOMAIN: 'example.org',
      DISCOVERY_SERVER: '10.0.0.2:8600,[fd00::2]:53',
      STOCK_HOST: 'srv:stock.service.consul',
    })
  })
})

describe('registryRules', () => {
  test('are none for what the graph and its DNS have', () => {
    expect(registryRules(settings({ DISCOVERY: 'srv' }), booking)).toEqual([])
    expect(registryRules(settings({ ...ELSEWHERE, DISCOVERY_SERVER: '10.0.0.2' }), hello)).toEqual([])
  })

  test('open UDP and TCP to DNS servers, but for those of the pod itself', () => {
    expect(registryRules(settings({ DISCOVERY: 'srv', DISCOVERY_SERVER: '10.0.0.2:8600,fd00::2,127.0.0.1:8600,::1' }), booking)).toEqual([
      { peer: peer('10.0.0.2/32'), ports: [8_600], protocols: ['UDP', 'TCP'] },
      { peer: peer('fd00::2/128'), ports: [53], protocols: ['UDP', 'TCP'] },
    ])
  })

  test('open the way to callees that are elsewhere, for who calls them', () => {
    expect(registryRules(settings(ELSEWHERE), booking)).toEqual([{ peer: peer('10.1.0.0/16'), ports: [8_080] }])
    expect(registryRules(settings({ ...ELSEWHERE, CALLEES: 'hello=10.1.0.1:8080' }), { ...booking, calls: [] })).toEqual([])
  })
})

test('a pod is told of its registry, and may reach it', () => {
  const { own } = synthesize({ ...project, settings: settings({ ...ELSEWHERE, DISCOVERY_SERVER: '10.0.0.2:8600' }), images })
  // biome-ignore lint/suspicious/noExplicitAny: of many kinds
  const find = (kind: string): any => own.find(({ kind: other, metadata }) => other === kind && metadata.name === 'booking')
  const serving = find('Deployment').spec.template.spec.containers.find(({ name }: { name: string }) => name === 'booking')
  expect(serving.env).toEqual(expect.arrayContaining([{ name: 'STOCK_HOST', value: 'srv:stock.service.consul' }]))
  expect(find('NetworkPolicy').spec.egress).toEqual(
    expect.arrayContaining([
      {
        to: [peer('10.0.0.2/32')],
        ports: [
          { port: 8_600, protocol: 'UDP' },
          { port: 8_600, protocol: 'TCP' },
        ],
      },
      { to: [peer('10.1.0.0/16')], ports: [{ port: 8_080, protocol: 'TCP' }] },
    ]),
  )
})
