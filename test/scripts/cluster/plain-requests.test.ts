import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { KubeConfig, type KubernetesObject, KubernetesObjectApi } from '@kubernetes/client-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { manifests } from '../../support/fake-cluster.ts'

// docs/decisions/2026-11-26-cdk8s-plus.md. The day this fails, the client library's own requests may be looked at again.

let server: Server
let typed: KubernetesObjectApi
/** What was sent last. */
let sent: Manifest

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const body = await text(request)
    if (body) sent = JSON.parse(body)
    response.setHeader('content-type', 'application/json')
    response.end(body || JSON.stringify({ resources: [{ name: 'networkpolicies', kind: 'NetworkPolicy', namespaced: true }] }))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const config = new KubeConfig()
  config.loadFromClusterAndUser(
    { name: 'here', server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, skipTLSVerify: true },
    { name: 'nobody' },
  )
  typed = KubernetesObjectApi.makeApiClient(config)
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

// biome-ignore lint/suspicious/noExplicitAny: rules of a policy
const ingressOf = ({ spec }: any): { from?: object[] }[] => spec.ingress ?? []
const policies = manifests.filter(({ kind, ...policy }) => kind === 'NetworkPolicy' && ingressOf(policy).some(({ from }) => from))

test('the client library drops who may come in from the rules of a NetworkPolicy, which then are for everybody', async () => {
  expect(policies.length).toBeGreaterThan(5)
  for (const policy of policies) {
    await typed.patch(policy as KubernetesObject)
    expect(ingressOf(sent)).toHaveLength(ingressOf(policy).length)
    for (const rule of ingressOf(sent)) expect(rule).not.toHaveProperty('from')
  }
})
