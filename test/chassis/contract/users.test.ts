import { describe, expect, test } from 'vitest'
import { jwksOperation } from '../../../services/chassis/contract/access-token.ts'
import { calleesOf, portsBetween } from '../../../services/chassis/contract/connections.ts'
import type { Contract } from '../../../services/chassis/contract/contract.ts'
import { defineService, defineSystem, type SystemDefinition } from '../../../services/chassis/contract/graph.ts'
import { fetchesUserKeys } from '../../../services/chassis/contract/users.ts'
import { withGrpc } from '../../support/protocols.ts'
import { small } from '../../support/small.ts'

const responses = { 204: { description: 'Done' } }
const mine = { method: 'GET', path: '/mine', summary: 'Mine', auth: 'user', responses } as const
const all = { method: 'GET', path: '/all', summary: 'All', auth: 'none', responses } as const
const service = (name: string, port: number, contract: Contract) =>
  defineService({
    name,
    port,
    contract,
    ...small,
  })

const account = service('account', 8_080, { mine, getKeys: jwksOperation })
const diary = service('diary', 8_081, { mine })
const news = service('news', 8_082, { all })
const foreign = { issuer: 'https://id.acme.example', audience: 'acme', jwksUri: 'https://id.acme.example/keys' }
const acme = (users: SystemDefinition['users'], services: SystemDefinition['services'] = [account, diary, news]) =>
  defineSystem({ name: 'acme', services, ...(users && { users }) })

describe('users of a system', () => {
  test('are needed where an operation asks for one', () => {
    expect(() => acme(undefined, [diary, news])).toThrow(
      "system acme: diary has auth 'user' (mine), and nobody issues tokens: say users: a service with a jwksOperation, or { issuer, audience, jwksUri }",
    )
    expect(acme(undefined, [news]).services).toEqual([news])
  })

  test('may be those of a service, which publishes its keys and is in the system', () => {
    expect(acme(account).users).toBe(account)
    expect(() => acme(diary)).toThrow('users is diary, which publishes no keys: give its contract a jwksOperation')
    expect(() => acme(account, [diary])).toThrow('users is account, which is not in the system')
  })

  test('may be those of a foreign issuer', () => {
    expect(acme(foreign, [diary]).users).toEqual(foreign)
    expect(() => acme({ issuer: 'id.acme.example', audience: '', jwksUri: 'http://id.acme.example/keys' }, [diary])).toThrow(
      'system acme: users.issuer is id.acme.example, which is no https URL; users.jwksUri is http://id.acme.example/keys, which is no https URL; ' +
        'users.audience is empty: it tells tokens for this system from others of the issuer',
    )
  })

  test('bring an edge to the issuer, for whoever verifies their tokens', () => {
    const system = acme(account)
    expect([account, diary, news].filter(fetchesUserKeys)).toEqual([diary])
    expect(calleesOf(system, diary)).toEqual([account])
    expect(portsBetween(system, diary, account)).toEqual([8_080])
    expect(portsBetween(system, news, account)).toEqual([])
    expect([account, news].flatMap(one => calleesOf(system, one))).toEqual([])
    expect(calleesOf(acme(foreign, [diary]), diary)).toEqual([])
  })

  test('bring none beside an edge that is there', () => {
    const caller = defineService({ ...diary, calls: [{ to: account, mode: 'optional', attemptTimeoutMs: 100 }] })
    const system = acme(account, [account, caller])
    expect(calleesOf(system, caller)).toEqual([account])
    expect(portsBetween(system, caller, account)).toEqual([8_080])
  })
  test('bring the port of HTTP beside that of gRPC, by which the keys do not come', () => {
    const called = withGrpc(account, 9_000)
    const caller = defineService({ ...diary, calls: [{ to: called, mode: 'optional', attemptTimeoutMs: 100, protocol: 'grpc' }] })
    expect(portsBetween(acme(called, [called, caller]), caller, called)).toEqual([9_000, 8_080])
    expect(portsBetween(acme(foreign, [called, caller]), caller, called)).toEqual([9_000])
  })
})
