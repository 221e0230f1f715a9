import { describe, expect, onTestFinished, test } from 'vitest'
import { discoverCallee, type Whereabouts } from '../../../services/chassis/client/callee.ts'
import { describeDnsServer } from '../../../services/chassis/contract/dns-server.ts'
import { stock } from '../../support/acme.ts'
import { a, srv, startDnsServer } from '../../support/dns-server.ts'
import { testRuntime } from '../../support/runtime.ts'

function discover(options: Partial<Whereabouts> = {}) {
  const callee = discoverCallee({ ...testRuntime(), callee: stock, ...options })
  onTestFinished(callee.discovery.close)
  return { ...callee, authorities: async () => (await callee.discovery.addresses()).map(({ authority }) => authority) }
}

const PODS = 'stock-pods.acme.svc.cluster.local'

/** A DNS server that answers any question for SRV records with one instance. */
async function registry() {
  const server = await startDnsServer(({ name }) => ({ answers: [srv(name, 'a.example', 4_711)], additionals: [a('a.example', '10.0.0.9')] }))
  return { server, registry: { way: 'srv', zone: 'acme.svc.cluster.local', servers: [describeDnsServer(server)] } as const }
}

describe('discoverCallee', () => {
  test('looks for the addresses of the headless Service, with the port of the definition', async () => {
    const asked: string[] = []
    const lookup = async (name: string) => {
      asked.push(name)
      return ['10.0.0.1']
    }
    const { host, port, authorities } = discover({ lookup })
    expect([host, port, await authorities(), asked]).toEqual(['stock-pods', stock.port, [`10.0.0.1:${stock.port}`], ['stock-pods']])
  })

  test('takes another port of the callee', async () => {
    const { authorities } = discover({ port: { name: 'grpc', number: 9_000 }, lookup: async () => ['10.0.0.1'] })
    expect(await authorities()).toEqual(['10.0.0.1:9000'])
  })

  test('goes where it is told, to a port or to that of the definition', async () => {
    const lookup = async () => ['10.0.0.1']
    expect(await discover({ host: 'elsewhere:81', lookup }).authorities()).toEqual(['10.0.0.1:81'])
    expect(await discover({ host: 'elsewhere', lookup }).authorities()).toEqual([`10.0.0.1:${stock.port}`])
  })

  test.each([
    ['http', undefined],
    ['grpc', { name: 'grpc', number: 9_000 }],
  ])('asks for the SRV records of the port %s where the registry has them', async (name, port) => {
    const known = await registry()
    const { host, authorities } = discover({ registry: known.registry, ...(port && { port }) })
    expect([host, await authorities()]).toEqual([PODS, ['10.0.0.9:4711']])
    expect([...new Set(known.server.questions)]).toEqual([`SRV _${name}._tcp.${PODS} over udp`])
  })

  test('asks for the SRV records of a name of its own, whatever the way of the registry', async () => {
    const known = await registry()
    const { host, authorities } = discover({ host: 'srv:stock.service.consul', registry: { ...known.registry, way: 'dns' } })
    expect([host, await authorities()]).toEqual(['stock.service.consul', ['10.0.0.9:4711']])
    expect([...new Set(known.server.questions)]).toEqual(['SRV stock.service.consul over udp'])
  })

  test('goes to a host that it is told, whatever the way of the registry', async () => {
    const known = await registry()
    expect(await discover({ host: '127.0.0.1:81', registry: known.registry }).authorities()).toEqual(['127.0.0.1:81'])
    expect(known.server.questions).toEqual([])
  })
})
