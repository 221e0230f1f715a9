import { describe, expect, test } from 'vitest'
import { diagramMermaid } from '../../infra/kit/diagram/mermaid.ts'
import { loadSettings } from '../../infra/kit/settings/settings.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { jwksOperation } from '../../services/chassis/contract/access-token.ts'
import { type Contract, defineContract } from '../../services/chassis/contract/contract.ts'
import { defineService, defineSystem } from '../../services/chassis/contract/graph.ts'
import { project } from '../support/acme.ts'
import { EXISTING } from '../support/existing-platform.ts'
import { small } from '../support/small.ts'

const responses = { 204: { description: 'Done' } }
const mine = { method: 'GET', path: '/mine', summary: 'Mine', auth: 'user', responses } as const
const all = { method: 'GET', path: '/all', summary: 'All', auth: 'none', responses } as const
const service = (name: string, port: number, contract: Contract) =>
  defineService({
    name,
    port,
    contract: defineContract(contract),
    ...small,
  })

const account = service('account', 8_080, { getMine: { ...mine, path: '/me' }, getKeys: jwksOperation })
const diary = service('diary', 8_081, { mine })
const news = service('news', 8_082, { all })
const home = defineSystem({ name: 'acme', services: [account, diary, news], users: account })
const foreign = { issuer: 'https://id.acme.example', audience: 'acme-api', jwksUri: 'https://id.acme.example:8443/keys' }
const abroad = defineSystem({ name: 'acme', services: [diary, news], users: foreign })

function made(system: typeof home | typeof abroad, env: Record<string, string> = {}) {
  const images = Object.fromEntries(system.services.map(({ name }) => [name, `acme/${name}:1`]))
  const { own } = synthesize({ ...project, system, settings: loadSettings(env, system), images })
  // biome-ignore lint/suspicious/noExplicitAny: the test looks deep into objects
  const find = (kind: string, name: string): any => own.find(object => object.kind === kind && object.metadata.name === name)
  return {
    auth: (name: string) => {
      const { env: variables } = find('Deployment', name).spec.template.spec.containers[0]
      return Object.fromEntries(variables.flatMap(({ name, value }: Record<string, string>) => (name?.startsWith('AUTH_') ? [[name, value]] : [])))
    },
    volumes: (name: string) => find('Deployment', name).spec.template.spec.volumes,
    egress: (name: string) => find('NetworkPolicy', name).spec.egress,
    ingress: (name: string) => find('NetworkPolicy', name).spec.ingress,
  }
}

const pods = (name: string) => ({ podSelector: { matchLabels: { 'app.kubernetes.io/name': name } } })
const tcp = (port: number) => [{ port, protocol: 'TCP' }]

describe('users of a service of the system', () => {
  const objects = made(home)

  test('are known to whoever serves them, by the keys of the issuer', () => {
    const realm = { AUTH_ISSUER: 'https://acme.localhost', AUTH_AUDIENCE: 'acme' }
    expect(objects.auth('diary')).toEqual({ ...realm, AUTH_JWKS_URI: 'http://account-pods:8080/.well-known/jwks.json' })
    expect(objects.auth('account')).toEqual(realm)
    expect(objects.auth('news')).toEqual({})
  })

  test('open the network from who verifies their tokens to the issuer, and nothing else', () => {
    expect(objects.egress('diary')).toContainEqual({ to: [pods('account')], ports: tcp(8_080) })
    expect(objects.ingress('account')).toContainEqual({ from: [pods('diary')], ports: tcp(8_080) })
    expect(JSON.stringify([objects.egress('news'), objects.ingress('diary')])).not.toContain('account')
  })

  test('are an arrow of the diagram', () => {
    expect(diagramMermaid(home)).toContain('service_diary -.->|"8080 · keys"| service_account')
  })
})

const REAL = { USERS_JWKS: 'issuer' }

describe('users of a foreign issuer', () => {
  test('are known by its name, audience, keys and algorithms', () => {
    expect(made(abroad, REAL).auth('diary')).toEqual({
      AUTH_ISSUER: foreign.issuer,
      AUTH_AUDIENCE: foreign.audience,
      AUTH_JWKS_URI: foreign.jwksUri,
      AUTH_ALGORITHMS: 'ES256,RS256',
    })
  })

  test('open the network to where its keys are', () => {
    const where = { ...REAL, USERS_JWKS_CIDR: '192.0.2.0/24' }
    expect(made(abroad, where).egress('diary')).toContainEqual({ to: [{ ipBlock: { cidr: '192.0.2.0/24' } }], ports: tcp(8_443) })
    expect(JSON.stringify(made(abroad, where).egress('news'))).not.toContain('8443')
    expect(made(abroad, REAL).egress('diary')).toContainEqual({ ports: tcp(8_443) })
  })

  test('are known on kind by the key of a stand-in, from a file: nothing leaves the cluster for it', () => {
    const { auth, egress, volumes } = made(abroad)
    expect(auth('diary')).toMatchObject({ AUTH_ISSUER: foreign.issuer, AUTH_JWKS_URI: 'file:///etc/fairlead/issuer-stand-in/jwks.json' })
    expect(volumes('diary')).toContainEqual({ name: 'issuer-stand-in', configMap: { name: 'issuer-stand-in' } })
    expect(JSON.stringify([volumes('news'), made(home).volumes('diary'), made(abroad, REAL).volumes('diary')])).not.toContain('issuer-stand-in')
    expect(JSON.stringify(egress('diary'))).not.toContain('8443')
  })

  test.each([
    { ...EXISTING, USERS_JWKS_CIDR: '192.0.2.0/24' },
    { CLUSTER: 'other', PLATFORM: 'bundled' },
  ])('have no stand-in anywhere else: %j', env => {
    expect(loadSettings(env, abroad).USERS_JWKS).toBe('issuer')
    expect(() => loadSettings({ ...env, USERS_JWKS: 'stand-in' }, abroad)).toThrow('USERS_JWKS is stand-in, which is for kind alone')
  })

  test('have no stand-in where only PLATFORM=bundled is said, which may be any cluster', () => {
    expect(loadSettings({ PLATFORM: 'bundled' }, abroad).USERS_JWKS).toBe('issuer')
    expect(loadSettings({ PLATFORM: 'bundled', CLUSTER: 'kind' }, abroad).USERS_JWKS).toBe('stand-in')
    expect(loadSettings({}, abroad).USERS_JWKS).toBe('stand-in')
  })

  test('ask for those addresses on a cluster of its own', () => {
    expect(() => loadSettings(EXISTING, abroad)).toThrow(
      "USERS_JWKS_CIDR is missing: it takes the addresses of id.acme.example:8443, where users' keys are",
    )
    expect(loadSettings({ ...EXISTING, USERS_JWKS_CIDR: '192.0.2.0/24' }, abroad).USERS_JWKS_CIDR).toEqual(['192.0.2.0/24'])
  })
})
