import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { DefinitionError } from '../../../services/chassis/contract/definition-error.ts'
import {
  callersOf,
  databaseOf,
  defineService,
  defineSystem,
  edgeTo,
  hasOutbox,
  podsHost,
  type ServiceDefinition,
  sendsCommands,
} from '../../../services/chassis/contract/graph.ts'
import { secretsOf } from '../../../services/chassis/contract/secrets.ts'
import { booking, hello, stock, system } from '../../support/acme.ts'

const service = (changes: Partial<ServiceDefinition> = {}): ServiceDefinition => ({
  name: 'stock',
  port: 8_082,
  contract: {},
  calls: [],
  timeoutMs: 1_000,
  maxConcurrency: 10,
  slo: { availability: 0.99, latency: { thresholdMs: 250, objective: 0.99 } },
  scale: { min: 1, max: 1 },
  ...changes,
})

describe('defineService', () => {
  test.each(['a', 'stock', 'stock-2', `a${'b'.repeat(41)}`])('takes the name %s', name => {
    expect(defineService(service({ name })).name).toBe(name)
  })

  test.each(['', 'Stock', '2stock', '-stock', 'stock-', 'sto_ck', 'sto.ck', 'stock\n', `a${'b'.repeat(42)}`])('refuses the name %j', name => {
    expect(() => defineService(service({ name }))).toThrow(`service name '${name}' is not a DNS label of at most 42 characters`)
  })

  test.each([0, 80, 1_023, 65_536, 8_080.5, Number.NaN])('refuses the port %s and names service and port', port => {
    expect(() => defineService(service({ port }))).toThrow(`stock: port ${port} is not between 1024 and 65535`)
  })

  test.each([
    [4, 2],
    [0, 1],
    [Number.NaN, 1],
    [1, Number.NaN],
  ])('refuses from %s to %s pods and names both', (min, max) => {
    expect(() => defineService(service({ scale: { min, max } }))).toThrow(
      `stock: scale.min ${min} and scale.max ${max} are no bounds: 1 <= min <= max`,
    )
  })

  test('refuses an attempt that takes longer than the whole request, and names both', () => {
    const edge = { to: hello, mode: 'optional' as const, attemptTimeoutMs: 1_001 }
    expect(() => defineService(service({ calls: [edge] }))).toThrow("stock -> hello: attemptTimeoutMs 1001 exceeds stock's timeoutMs 1000")
    expect(defineService(service({ calls: [{ ...edge, attemptTimeoutMs: 1_000 }] })).calls).toHaveLength(1)
  })
})

describe('a database', () => {
  test('has the name of its service, or the one that is said', () => {
    const names = [true as const, 'depot_2', undefined].map(database => databaseOf(defineService(service({ ...(database && { database }) }))))
    expect(names).toEqual(['stock', 'depot_2', undefined])
  })

  test.each(['', 'two words', 'Depot', 'x'.repeat(64)])('may not be called %j', database => {
    expect(() => defineService(service({ database }))).toThrow(`stock: database '${database}' is not a name of at most 63 characters`)
  })

  test('belongs to one service alone', () => {
    const services = [service({ database: true }), service({ name: 'depot', port: 8_083, database: 'stock' })]
    expect(() => defineSystem({ name: 'acme', services })).toThrow('depot and stock both have the database stock, which only one of them may have')
  })
})

describe('a setting', () => {
  const withSetting = (setting: string, changes: Partial<ServiceDefinition> = {}) => service({ settings: { [setting]: z.string() }, ...changes })

  test.each(['MAX_OPEN', 'A', 'LIMIT_2'])('may be called %s', setting => {
    expect(Object.keys(defineService(withSetting(setting)).settings ?? {})).toEqual([setting])
  })

  test.each(['maxOpen', 'MAX-OPEN', '_MAX', '2ND', ''])('may not be called %j', setting => {
    expect(() => defineService(withSetting(setting))).toThrow(`stock: the setting ${setting} is not in UPPER_CASE`)
  })

  test.each([
    'PORT',
    'NAMESPACE',
    'DATABASE_URL_FILE',
    'WORKLOAD_ISSUER',
    'OTEL_SERVICE_NAME',
    'NODE_OPTIONS',
    'HELLO_IDENTITY_FILE',
    'HELLO_HOST',
    'KEYS_DIR',
  ])('may not be called %s, which has a meaning', setting => {
    const calls = [{ to: hello, mode: 'optional' as const, attemptTimeoutMs: 1 }]
    const definition = withSetting(setting, { calls, secrets: { keys: {} } })
    expect(() => defineService(definition)).toThrow(`stock: the setting ${setting} cannot have that name, since ${setting} has a meaning of its own`)
  })

  test('may not be one with its service that has a meaning', () => {
    expect(() => defineService(withSetting('LEVEL', { name: 'log' }))).toThrow('since LOG_LEVEL has a meaning of its own')
  })
})

describe('a secret', () => {
  test.each(['keys', 'stripe', 'signing-keys'])('may be called %s', secret => {
    expect(secretsOf(defineService(service({ secrets: { [secret]: {} } }))).map(({ name }) => name)).toEqual([secret])
  })

  test.each(['Stripe', 'api_key', '-keys', ''])('may not be called %j', secret => {
    expect(() => defineService(service({ secrets: { [secret]: {} } }))).toThrow(`stock: the secret ${secret} is not a DNS label`)
  })

  test.each(['tmp', 'identity', 'database', 'database-owner', 'booking-database', 'postgres', 'postgres-roles', 'otlp-headers'])(
    'may not be called %s, as the kit has one',
    secret => {
      expect(() => defineService(service({ secrets: { [secret]: {} } }))).toThrow(`stock: the secret ${secret} cannot have that name`)
    },
  )

  test('has a variable of its own', () => {
    expect(secretsOf({ secrets: { 'signing-keys': { make: 'ed25519-jwk', rotateDays: 90 } } })).toEqual([
      { name: 'signing-keys', env: 'SIGNING_KEYS_DIR', make: 'ed25519-jwk', rotateDays: 90 },
    ])
  })
})

describe('defineSystem', () => {
  test('refuses two settings that one variable would set', () => {
    const a = service({ name: 'stock', settings: { ITEM_MAX: z.string() } })
    const b = service({ name: 'stock-item', port: 8_099, settings: { MAX: z.string() } })
    expect(() => defineSystem({ name: 'acme', services: [a, b] })).toThrow('settings of stock-item and stock both are STOCK_ITEM_MAX')
  })

  describe('a command', () => {
    const responses = { 204: { description: 'Done' } }
    const callee = service({
      name: 'ledger',
      contract: {
        book: { method: 'PUT', path: '/bookings', summary: 'Book', auth: 'workload', responses },
        add: { method: 'POST', path: '/bookings', summary: 'Add', auth: 'workload', responses },
        show: { method: 'PUT', path: '/shown', summary: 'Show', auth: 'user', responses },
      },
    })
    const caller = (command: string, database?: string) =>
      service({
        name: 'caller',
        port: 8_099,
        ...(database && { database }),
        calls: [{ to: callee, mode: 'optional', attemptTimeoutMs: 1, commands: [command] }],
      })

    test('is an operation of the callee that may come again, from a service with an outbox', () => {
      expect(sendsCommands(caller('book', 'caller'))).toBe(true)
      const plain = service({ name: 'plain', port: 8_099, database: 'plain', calls: [{ to: callee, mode: 'optional', attemptTimeoutMs: 1 }] })
      expect([sendsCommands(plain), hasOutbox(plain), hasOutbox(callee)]).toEqual([false, true, callee.database !== undefined])
    })

    test.each([
      ['nothing', 'caller', 'caller -> ledger: the command nothing is no operation of ledger, which has book, add, show'],
      ['add', 'caller', "caller -> ledger: the command add is POST with auth 'workload'"],
      ['show', 'caller', "caller -> ledger: the command show is PUT with auth 'user'"],
      ['book', undefined, 'caller -> ledger: the command book needs an outbox, and caller has no database for one'],
    ])('%s from a service with the database %s is refused', (command, database, message) => {
      expect(() => defineService(caller(command, database))).toThrow(message)
    })
  })

  test('refuses a secret that two services have', () => {
    const secrets = { keys: {} }
    const services = [service({ secrets }), service({ name: 'other', port: 8_099, secrets })]
    expect(() => defineSystem({ name: 'acme', services })).toThrow('other and stock both have a secret keys, which only one of them may read')
  })

  test('names every problem at once', () => {
    const outsider = service({ name: 'outsider', port: 8_090 })
    const twin = service({ name: 'stock', port: 8_090, calls: [{ to: outsider, mode: 'required', attemptTimeoutMs: 1 }] })
    const third = service({ name: 'third', port: 8_082 })
    expect(() => defineSystem({ name: 'acme', services: [service(), twin, third] })).toThrow(
      new DefinitionError(
        'system acme: stock and stock both use name stock; stock calls outsider, which is not in the system; third and stock both use port 8082',
      ),
    )
  })

  test('refuses a port that is the admin port of another service on a laptop, and names both', () => {
    const services = [service({ name: 'loan', port: 9_081 }), service({ name: 'catalog', port: 8_081 })]
    const message = "system library: loan's port 9081 is catalog's admin port (8081 + 1000)"
    expect(() => defineSystem({ name: 'library', services })).toThrow(new DefinitionError(message))
    expect(() => defineSystem({ name: 'library', services: services.toReversed() })).toThrow(new DefinitionError(message))
  })

  test('takes a system as it is', () => {
    expect(defineSystem(system)).toBe(system)
  })
})

describe('the edges of a system', () => {
  test('edgeTo gives the edge, or says how to add it', () => {
    expect(edgeTo(booking, 'stock').to).toBe(stock)
    expect(() => edgeTo(stock, 'booking')).toThrow('stock has no edge to booking; add { to: booking, ... } to its calls')
  })

  test('callersOf names the services with an edge to one', () => {
    expect(callersOf(system, stock)).toEqual(['booking'])
    expect(callersOf(system, booking)).toEqual([])
  })

  test('podsHost is the name of the headless Service', () => {
    expect(podsHost(stock)).toBe('stock-pods')
  })
})
