import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { said, withDeployed } from '../../../scripts/doctor/deployed-settings.ts'
import { system as acme, stock } from '../../support/acme.ts'
import { fakeCluster } from '../../support/fake-cluster.ts'

const settings = { BRANCH: z.string().min(1).describe('branch'), MAX: z.coerce.number().default(5).describe('most') }
const system = { ...acme, services: [{ ...stock, settings }] }

function deployed(...env: object[]) {
  const fake = fakeCluster()
  fake.edit('Deployment acme/stock', ({ spec }) => spec.template.spec.containers[0].env.push(...env))
  return fake.cluster
}

describe('withDeployed(cluster, system, env)', () => {
  test('has a required setting of a service as the cluster has it', async () => {
    const env = await withDeployed(deployed({ name: 'BRANCH', value: 'north' }, { name: 'MAX', value: '7' }), system, { TZ: 'UTC' })
    expect(env).toEqual({ TZ: 'UTC', STOCK_BRANCH: 'north' })
    expect(loadSettings(env, system).SERVICES).toEqual({ stock: { BRANCH: 'north' } })
  })

  test('leaves what is said', async () => {
    const env = { STOCK_BRANCH: 'south' }
    expect(await withDeployed(deployed({ name: 'BRANCH', value: 'north' }), system, env)).toEqual(env)
  })

  test('asks no cluster when nothing is missing', async () => {
    const cluster = { ...deployed(), read: () => Promise.reject(new Error('it was asked')) }
    expect(await withDeployed(cluster, acme, {})).toEqual({})
  })

  test('leaves out what the cluster does not have, which is missing then', async () => {
    const env = await withDeployed(fakeCluster([]).cluster, system, {})
    expect(() => loadSettings(env, system)).toThrow('STOCK_BRANCH is missing')
  })
})

test('a command for the same system says what was said and what the cluster has, of services too, and no default', async () => {
  const env = await withDeployed(deployed({ name: 'BRANCH', value: 'north' }), system, { HOST: 'acme.example.org', STOCK_MAX: '7', TZ: 'UTC' })
  const expected = { HOST: 'acme.example.org', STOCK_BRANCH: 'north', STOCK_MAX: '7' }
  expect(said(env, loadSettings(env, system))).toEqual(expected)
})
