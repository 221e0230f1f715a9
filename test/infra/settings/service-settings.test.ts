import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { helmChart } from '../../../infra/kit/helm/chart.ts'
import { chartSettings, describeSettings, loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { defineService, defineSystem, type ServiceDefinition } from '../../../services/chassis/contract/graph.ts'
import { count, list, text } from '../../../services/chassis/contract/settings.ts'
import { project } from '../../support/acme.ts'
import { small } from '../../support/small.ts'

const till = (settings: ServiceDefinition['settings'] = {}) =>
  defineSystem({
    name: 'acme',
    services: [
      defineService({
        name: 'till',
        port: 8_080,
        contract: defineContract({
          pay: { method: 'POST', path: '/payments', summary: 'Pay', auth: 'none', responses: { 204: { description: 'Paid' } } },
        }),
        settings,
        ...small,
      }),
    ],
  })

const system = till({
  MAX_OPEN: count(5, 'open payments'),
  CURRENCY: text('EUR', 'a currency'),
  CITIES: list('cities').default(['Ulm', 'Bonn']),
  NOTE: z.string().optional(),
})
const images = { till: 'acme/till:1' }

/** The service's own part of its container's environment. */
function environment(env: Record<string, string>, of = system): Record<string, string> {
  const { own: objects } = synthesize({ ...project, system: of, settings: loadSettings(env, of), images })
  const deployment = objects.find(({ kind }) => kind === 'Deployment') as never as {
    spec: { template: { spec: { containers: { env: { name: string; value: string }[] }[] } } }
  }
  const [{ env: all = [] } = {}] = deployment.spec.template.spec.containers
  const own = Object.keys(of.services[0]?.settings ?? {})
  return Object.fromEntries(all.filter(({ name }) => own.includes(name)).map(({ name, value }) => [name, value]))
}

describe('settings of a service', () => {
  test('are in its Deployment with their defaults', () => {
    expect(environment({})).toEqual({ MAX_OPEN: '5', CURRENCY: 'EUR', CITIES: 'Ulm,Bonn' })
  })

  test('are set by its name and theirs', () => {
    expect(environment({ TILL_MAX_OPEN: '7', TILL_NOTE: 'closed', MAX_OPEN: '9' })).toEqual({
      MAX_OPEN: '7',
      CURRENCY: 'EUR',
      CITIES: 'Ulm,Bonn',
      NOTE: 'closed',
    })
  })

  test('that are wrong are refused together with what else is, each in a line', () => {
    expect(() => loadSettings({ TILL_MAX_OPEN: 'many', LOG_LEVEL: 'loud' }, system)).toThrow(
      /^the environment has 2 problems:\n {2}TILL_MAX_OPEN is wrong \(.+\): it takes open payments, a whole number\n {2}LOG_LEVEL is wrong/,
    )
  })

  test('without a default have to be given', () => {
    const required = till({ KEY_ID: text('the id of a key') })
    const missing = 'TILL_KEY_ID is missing: it takes the id of a key'
    expect(() => loadSettings({}, required)).toThrow(missing)
    expect(() => synthesize({ ...project, system: required, settings: loadSettings({}, system), images })).toThrow(missing)
    expect(environment({ TILL_KEY_ID: 'k1' }, required)).toEqual({ KEY_ID: 'k1' })
  })

  test.each([
    ['TILL_MAX_OPENS', 'TILL_MAX_OPEN'],
    ['TILL_CURENCY', 'TILL_CURRENCY'],
  ])('%s is refused with what it may mean', (name, meant) => {
    expect(() => loadSettings({ [name]: '1' }, system)).toThrow(`${name} is no setting of till; did you mean ${meant}?`)
  })

  test.each(['TILL_SERVICE_HOST', 'TILL_PORT_8080_TCP', 'STILL_MAX_OPENS'])('%s is left alone', name => {
    expect(loadSettings({ [name]: '1' }, system).SERVICES).toEqual({ till: {} })
  })

  test('cannot be one of the kit', () => {
    const otlp = defineSystem({ name: 'acme', services: [{ ...system.services[0], name: 'otlp', settings: { CA: text('x', 'a text') } }] })
    expect(() => loadSettings({}, otlp)).toThrow("OTLP_CA is a setting of a service and of the kit: give the service's another name")
  })

  test('are values of the chart as texts, with the schema of what they take; who has no default has to be given', () => {
    const of = till({ MAX_OPEN: count(5, 'open payments'), KEY_ID: text('the id of a key') })
    const files = helmChart({ ...project, system: of }, chartSettings(of), { till: '1' })
    expect(parse(files.get('values.yaml') as string).services.till.settings).toEqual({ MAX_OPEN: '5' })
    expect(files.get('values.yaml')).toContain('# open payments, a whole number')
    expect(files.get('values.yaml')).toContain('# KEY_ID has to be given: the id of a key')
    expect(JSON.parse(files.get('values.schema.json') as string).properties.services.properties.till.properties.settings).toMatchObject({
      required: ['MAX_OPEN', 'KEY_ID'],
      properties: { KEY_ID: { type: 'string', minLength: 1 } },
    })
    expect(files.get('templates/till-deployment.yaml')).toContain(
      '- name: KEY_ID\n              value: {{ .Values.services.till.settings.KEY_ID | quote }}\n',
    )
  })

  test('without a description are told by what they take', () => {
    const plain = till({
      LIMIT: z.coerce.number().int(),
      MODE: z.enum(['slow', 'fast']),
      INNER: z.coerce.number().describe('said inside').default(1),
    })
    expect(describeSettings(plain)).toContain('TILL_LIMIT: a whole number\n  TILL_MODE: slow or fast\n  TILL_INNER: said inside\n')
    expect(() => loadSettings({}, plain)).toThrow('TILL_LIMIT is missing: it takes a whole number')
    expect(helmChart({ ...project, system: plain }, chartSettings(plain), { till: '1' }).get('values.yaml')).toContain(
      '# LIMIT has to be given: a whole number',
    )
  })
})
