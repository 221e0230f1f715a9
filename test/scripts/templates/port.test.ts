import { describe, expect, test } from 'vitest'
import { freePortBeside } from '../../../scripts/templates/port.ts'
import { defineService, defineSystem, type ServiceDefinition } from '../../../services/chassis/contract/graph.ts'
import { small } from '../../support/small.ts'

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)

describe('the port of a new service', () => {
  test.each<[string, number[], number]>([
    ['is 8080 in an empty system', [], 8_080],
    ['is the next', [8_080, 8_081], 8_082],
    ["is no other's admin port, also after a high one", [7_080, 8_081, 9_079], 8_082],
    ["has an admin port that is no other's port", [9_080], 8_081],
    ['is not that of the admin server in a pod', range(8_080, 9_089), 10_090],
  ])('%s', (_, ports, port) => {
    expect(freePortBeside(ports.map(taken => ({ port: taken })))).toBe(port)
  })

  test('is one that the system takes, however many services there are', () => {
    const services: ServiceDefinition[] = []
    for (const n of range(1, 1_100))
      services.push(defineService({ ...small, calls: [], contract: {}, name: `s${n}`, port: freePortBeside(services) }))
    expect(() => defineSystem({ name: 'acme', services })).not.toThrow()
  })

  test('is no port of gRPC either', () => {
    expect(freePortBeside([{ port: 8_080, grpc: { port: 8_081, numbers: { methods: [], messages: {}, enums: {} } } }])).toBe(8_082)
  })
})
