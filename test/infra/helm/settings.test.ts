import { beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { helmChart } from '../../../infra/kit/helm/chart.ts'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { chartSettings, loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { defineService, defineSystem } from '../../../services/chassis/contract/graph.ts'
import { count, flag, list, loadConfig, seconds, text } from '../../../services/chassis/contract/settings.ts'
import { hello, project as plain } from '../../support/acme.ts'
import { hasHelm, render } from '../../support/helm.ts'

/** One setting of each kind that a schema can have. */
const kinds = {
  COUNT: count(10_000_000, 'a large number'),
  NAME: text('a colour: blue', 'a text'),
  FLAG: z.stringbool().default(true),
  SWITCH: z
    .enum(['on', 'off'])
    .default('on')
    .transform(value => value === 'on'),
  WAIT: seconds(5, 1, 60, 'a wait').transform(value => value * 1_000),
  CITIES: list('cities').default(['Ulm', 'Bonn']),
  FIRST: z
    .string()
    .prefault('a,b')
    .transform(value => value.split(',')[0]),
  SINCE: z
    .string()
    .transform(value => new Date(value))
    .default(new Date('2026-01-01')),
  NOTE: z.string().optional(),
  LIMIT: z.coerce.number().int().optional(),
  WORD: z
    .string()
    .regex(/^(?!x)y/)
    .optional(),
  CODE: z
    .string()
    .regex(/^ab?c$/i)
    .default('abc'),
  OPEN: flag(false, 'open at night'),
  KEY_ID: text('the id of a key'),
  PRICE: z.coerce.number().transform(value => value * 100),
}
const till = defineService({ ...hello, name: 'my-till', settings: kinds })
const system = defineSystem({ name: 'acme', services: [till] })
const project = { ...plain, system }

/** The environment of the service's container. */
function environment(objects: readonly Manifest[]): Record<string, string> {
  const deployment = objects.find(({ kind }) => kind === 'Deployment') as never as {
    spec: { template: { spec: { containers: { env: { name: string; value: string }[] }[] } } }
  }
  const [container] = deployment.spec.template.spec.containers
  return Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, value]))
}

const synthesized = (env: Record<string, string>) =>
  environment(synthesize({ ...project, settings: loadSettings(env, system), images: { 'my-till': 'fairlead/my-till:1' } }).own)
const decoded = (env: Record<string, string>) => loadConfig(kinds, env)

const required = { KEY_ID: 'k1', PRICE: '2.5' }
const all = {
  ...required,
  COUNT: '0',
  NAME: '"{{ x }}": \'y\' # z',
  FLAG: 'no',
  SWITCH: 'off',
  WAIT: '7',
  CITIES: 'Rom',
  FIRST: 'c,d',
  SINCE: '2027-02-03',
  NOTE: 'true',
  LIMIT: '-3',
  WORD: 'yes',
  CODE: 'AbC',
  OPEN: 'true',
}
const prefixed = (texts: Record<string, string>) => Object.fromEntries(Object.entries(texts).map(([name, value]) => [`MY_TILL_${name}`, value]))

test.each([
  ['given alone where they have to be', required],
  ['given one and all', all],
])('settings, %s, arrive in the pod as texts that decode to what they mean', (_, given) => {
  const pod = synthesized(prefixed(given))
  expect(pod).toMatchObject(given)
  expect(decoded(pod)).toEqual(decoded(given))
})

describe.runIf(hasHelm())('the chart', () => {
  let chart: Map<string, string>
  beforeAll(() => {
    chart = helmChart(project, chartSettings(system), { 'my-till': '1' })
  })
  const withSettings = (settings: object) => render(chart, { services: { 'my-till': { settings } } })

  test.each([
    ['those that it requires', required],
    ['all', all],
  ])('given %s, makes the environment that synth makes', async (_, given) => {
    expect(environment(await withSettings(given))).toEqual(synthesized(prefixed(given)))
  })

  test('takes numbers and booleans, which `helm --set` makes of what looks like one', async () => {
    const bare = { COUNT: 20_000_000, FLAG: false, WAIT: 7, LIMIT: -3, OPEN: true, PRICE: 0.000_000_25 }
    const texts = Object.fromEntries(Object.entries(bare).map(([name, value]) => [name, String(value)]))
    expect(environment(await withSettings({ ...required, ...bare }))).toEqual(synthesized(prefixed({ ...required, ...texts })))
    const set = Object.entries(bare).map(([name, value]) => `services.my-till.settings.${name}=${value}`)
    expect(environment(await render(chart, { services: { 'my-till': { settings: required } } }, set))).toMatchObject({
      COUNT: '20000000',
      OPEN: 'true',
    })
  })

  test('asks for a required one by its name', async () => {
    await expect(withSettings({ PRICE: '1' })).rejects.toThrow(/KEY_ID/)
    await expect(withSettings({ ...required, KEY_ID: '' })).rejects.toThrow(/KEY_ID/)
  })

  test.each([
    ['a number for a text', { NAME: 5 }, /NAME.*want string/],
    ['a text that is no number', { COUNT: 'many' }, /COUNT.*does not match/],
    ['a number with a fraction for a whole one', { COUNT: 0.5 }, /COUNT.*want integer or string/],
    ['a number out of its bounds', { WAIT: 61 }, /WAIT.*maximum/],
    ['what a pattern without regard to case does not match', { CODE: 'xyz' }, /CODE/],
    ['what is none of its words', { SWITCH: 'maybe' }, /SWITCH/],
  ])('refuses %s', async (_, wrong, message) => {
    await expect(withSettings({ ...required, ...wrong })).rejects.toThrow(message)
  })
})
