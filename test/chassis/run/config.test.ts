import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { ServiceDefinition } from '../../../services/chassis/contract/graph.ts'
import { secretsOf } from '../../../services/chassis/contract/secrets.ts'
import { ConfigError, count, flag, list, loadConfig, milliseconds, port, text } from '../../../services/chassis/contract/settings.ts'
import { edgeVariables, isTaken } from '../../../services/chassis/contract/variables.ts'
import { databaseUrlFile } from '../../../services/chassis/data/database-url.ts'
import { baseConfig, serviceConfig } from '../../../services/chassis/run/config.ts'
import { booking, stock } from '../../support/acme.ts'

let dir: string
let urlFile: string

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-config-'))
  urlFile = join(dir, 'url')
  await writeFile(urlFile, '  postgres://localhost/a\n')
  await writeFile(join(dir, 'empty'), ' \n')
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const problemsOf = (fields: Record<string, z.ZodType>, env: Record<string, string | undefined>): string[] => {
  try {
    loadConfig(fields, env)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as ConfigError).message.split('\n')
  }
  return []
}

describe('loadConfig', () => {
  test('names every missing and wrong variable at once, with what it takes', () => {
    expect(
      problemsOf(
        { PORT: port(80), NAME: text('a name'), WAIT_MS: milliseconds(5), URL_FILE: databaseUrlFile, PLAIN: z.string() },
        { PORT: 'http', WAIT_MS: '1.5', URL_FILE: join(dir, 'none') },
      ),
    ).toEqual([
      'the environment has 5 problems:',
      expect.stringMatching(/^ {2}PORT is wrong \(.+\): it takes a port number; 0 picks a free one$/),
      '  NAME is missing: it takes a name',
      expect.stringMatching(/^ {2}WAIT_MS is wrong \(.+\): it takes whole milliseconds$/),
      `  URL_FILE is wrong (${join(dir, 'none')} cannot be read: ENOENT): it takes the path of a file with the Postgres URL`,
      '  PLAIN is missing: it takes a text',
    ])
  })

  test("leaves the schema's own message alone where it could only add that a text is wanted", () => {
    const ofZod = z.stringbool()
    const odd = z.stringbool({ truthy: ['oui'], falsy: ['non'] })
    expect(problemsOf({ A: z.string().min(3), B: odd, C: ofZod }, { A: 'x', B: 'true', C: 'maybe' })).toEqual([
      'the environment has 3 problems:',
      '  A is wrong (Too small: expected string to have >=3 characters)',
      '  B is wrong (Invalid option: expected one of "oui"|"non")',
      expect.stringMatching(/^ {2}C is wrong \(Invalid option: .+\): it takes true or false$/),
    ])
    expect(problemsOf({ C: ofZod }, {})).toContain('  C is missing: it takes true or false')
  })

  test('counts one problem as one', () => {
    expect(problemsOf({ NAME: text('a name') }, {})).toEqual(['the environment has 1 problem:', '  NAME is missing: it takes a name'])
  })

  test('takes an empty variable for a missing one', () => {
    expect(problemsOf({ NAME: text('a name') }, { NAME: '' })).toHaveLength(2)
    expect(loadConfig({ PORT: port(80) }, { PORT: '' })).toEqual({ PORT: 80 })
  })

  test('does not repeat a wrong value', () => {
    expect(
      problemsOf(baseConfig({ port: 80 }), { OTEL_EXPORTER_OTLP_ENDPOINT: 'hunter2', LOG_LEVEL: 'hunter2', PORT: 'hunter2' }).join(),
    ).not.toContain('hunter2')
  })

  test('reads no variable beyond its fields', () => {
    expect(loadConfig({ NAME: text('a name') }, { NAME: 'a', OTHER: 'b' })).toEqual({ NAME: 'a' })
  })
})

describe('fields', () => {
  test.each([
    ['port', port(80), { '0': 0, '8080': 8_080, '65535': 65_535 }, ['-1', '65536', '80.5', 'http', '80a']],
    ['milliseconds', milliseconds(5), { '0': 0, '3600000': 3_600_000 }, ['-1', '0.5', '3600001', '1s']],
    ['count', count(5), { '0': 0, '12': 12 }, ['-1', '0.5', 'many']],
    ['flag', flag(true, 'a word'), { true: true, false: false }, ['yes', '1', 'TRUE', 'a']],
    ['list', list('names'), { a: ['a'], ' a , b ,': ['a', 'b'] }, []],
  ] as [string, z.ZodType, Record<string, unknown>, string[]][])('%s takes what it says', (_name, schema, taken, refused) => {
    for (const [value, expected] of Object.entries(taken)) expect(loadConfig({ A: schema }, { A: value })).toEqual({ A: expected })
    for (const value of refused) expect(problemsOf({ A: schema }, { A: value })).toHaveLength(2)
  })
})

describe('a setting', () => {
  test.each([
    ['count', count(5, 'bookings'), count('bookings'), 'bookings, a whole number', 5],
    ['milliseconds', milliseconds(5, 'a pause'), milliseconds('a pause'), 'a pause, whole milliseconds', 5],
    ['text', text('EUR', 'a currency'), text('a currency'), 'a currency', 'EUR'],
    ['flag', flag(false, 'whether it rains'), flag('whether it rains'), 'true or false: whether it rains', false],
  ])('%s has its default, or has to be given', (_name, optional, required, takes, fallback) => {
    expect(loadConfig({ A: optional }, {})).toEqual({ A: fallback })
    expect(problemsOf({ A: required }, {})).toEqual(['the environment has 1 problem:', `  A is missing: it takes ${takes}`])
    expect(optional.description).toBe(takes)
  })
})

describe('the settings of the services', () => {
  test.each<ServiceDefinition>([stock, booking])('of $name have no name that a team could give to its own', service => {
    const ofTheChassis = Object.keys(serviceConfig({ ...service, settings: {} }))
    const called = service.calls.map(({ to }) => edgeVariables(to.name).host)
    const secret = secretsOf(service).map(({ env }) => env)
    expect(ofTheChassis.filter(name => !isTaken(name)).sort()).toEqual([...called, ...secret].sort())
    expect(ofTheChassis.length).toBeGreaterThan(10)
  })

  test('have defaults where nothing is required', () => {
    expect(loadConfig(baseConfig({ port: 8_080, database: 'a' }), { DATABASE_URL_FILE: urlFile, NAMESPACE: 'acme' })).toEqual({
      HOST: undefined,
      INGRESS_TRACES: 'link',
      PORT: 8_080,
      ADMIN_PORT: 9_090,
      DATABASE_URL_FILE: expect.any(Function),
      DATABASE_POOL_SIZE: 10,
      NAMESPACE: 'acme',
      TRUSTED_HOPS: 0,
      LINGER_MS: 1_000,
      LOG_LEVEL: 'info',
      OTEL_EXPORTER_OTLP_ENDPOINT: undefined,
    })
  })

  test('have no URL of a database where the service has none', () => {
    const fields = baseConfig({ port: 8_080 })
    expect(loadConfig(fields, { NAMESPACE: 'acme' }).DATABASE_URL_FILE).toBeUndefined()
    expect(() => loadConfig(fields, { NAMESPACE: 'acme', DATABASE_URL_FILE: urlFile })).toThrow('it takes nothing: the service has no database')
  })

  test.each([
    ['stock', serviceConfig(stock)],
    ['booking', serviceConfig(booking)],
  ] as [string, Record<string, z.ZodType>][])('say what each required variable of %s takes', (_name, fields) => {
    const problems = problemsOf(fields, {})
    expect(problems.length).toBeGreaterThan(3)
    expect(problems.filter(problem => problem.endsWith('it takes a value'))).toEqual([])
  })
})

describe('the registry', () => {
  const { DISCOVERY, DISCOVERY_DOMAIN, DISCOVERY_SERVER, STOCK_HOST } = serviceConfig(booking) as Record<string, z.ZodType>
  const fields = { DISCOVERY, DISCOVERY_DOMAIN, DISCOVERY_SERVER, STOCK_HOST } as Record<string, z.ZodType>

  test('is that of the addresses by default', () => {
    expect(loadConfig(fields, {})).toEqual({
      DISCOVERY: 'dns',
      DISCOVERY_DOMAIN: 'cluster.local',
      DISCOVERY_SERVER: undefined,
      STOCK_HOST: undefined,
    })
  })

  test('may be one of SRV records, at a DNS server of its own', () => {
    const env = {
      DISCOVERY: 'srv',
      DISCOVERY_DOMAIN: 'example',
      DISCOVERY_SERVER: '127.0.0.1:8600, 10.0.0.2',
      STOCK_HOST: 'srv:stock.service.consul',
    }
    expect(loadConfig(fields, env)).toEqual({ ...env, DISCOVERY_SERVER: ['127.0.0.1:8600', '10.0.0.2'] })
  })

  test('is nothing to a service that calls nobody', () => {
    expect(Object.keys(serviceConfig({ ...stock, calls: [] })).filter(name => name.startsWith('DISCOVERY'))).toEqual([])
  })

  test('that is wrong is told with what it takes', () => {
    expect(problemsOf(fields, { DISCOVERY: 'consul', DISCOVERY_SERVER: 'consul:8600', STOCK_HOST: 'srv:stock' }).slice(1)).toEqual([
      expect.stringMatching(/^ {2}DISCOVERY is wrong \(.+\): it takes dns \(.+\) or srv \(.+\)$/),
      expect.stringMatching(/^ {2}DISCOVERY_SERVER is wrong \(consul:8600 is no address of a DNS server .+\): it takes addresses of DNS servers/),
      expect.stringMatching(
        /^ {2}STOCK_HOST is wrong \(stock is not fully qualified.+\): it takes where the stock service is: host, host:port or srv:name/,
      ),
    ])
    expect(problemsOf(fields, { DISCOVERY_SERVER: ',' })).toHaveLength(2)
  })
})
