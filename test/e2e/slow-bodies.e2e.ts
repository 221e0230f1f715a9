import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { imageReferences } from '../../infra/kit/image/image.ts'
import { TRAEFIK_PORTS } from '../../infra/kit/settings/ports.ts'
import { app } from '../../infra/main.ts'
import type { Client } from '../../scripts/journey/load.ts'
import { defineJourney } from '../../services/chassis/contract/journey.ts'
import { order } from '../../services/order/service.ts'
import { user } from '../../services/user/service.ts'
import { newClients } from './support/clients.ts'
import { offer } from './support/load.ts'
import { cluster, eventually, readyPods, report, settings, sleep } from './support/target.ts'

/** Of its own: the attacker's address is one that nobody else has, and no policy keeps it in. */
const NAMESPACE = 'slow-bodies'
const CONNECTIONS = 300
/** The longest time that anything here waits for a request, three times over: what is held on to would have piled up by then. */
const ATTACK_MS = 3 * settings.INGRESS_READ_MS

/** Opens connections that send a head and the first byte of a body, and opens each again when it is closed. */
const attack = (address: string, port: number): string => `
  const head = 'POST /sessions HTTP/1.1\\r\\nHost: ${settings.HOST}\\r\\nContent-Type: application/json\\r\\nContent-Length: 64\\r\\n\\r\\n{'
  const seen = { opened: 0 }
  const open = () => {
    const socket = require('node:net').connect({ host: '${address}', port: ${port} }, () => { seen.opened++; socket.write(head) })
    socket.on('data', data => { const key = String(data).slice(9, 12); seen[key] = (seen[key] ?? 0) + 1 })
    socket.on('error', () => {}).on('close', () => setTimeout(open, 50))
  }
  for (let i = 0; i < ${CONNECTIONS}; i++) open()
  setInterval(() => console.log(JSON.stringify(seen)), 1000)
`

const attacker = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'attacker', namespace: NAMESPACE } }
const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } }

async function startAttack(): Promise<void> {
  const [ingress] = await readyPods('traefik', settings.INGRESS_NAMESPACE)
  const { user: image } = await imageReferences(app, settings)
  await cluster.create({
    ...attacker,
    spec: {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, runAsUser: 10_001, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'attacker',
          image,
          imagePullPolicy: settings.IMAGE_PULL_POLICY,
          args: ['-e', attack(ingress?.status.podIP, TRAEFIK_PORTS.http)],
          resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { cpu: '500m', memory: '256Mi' } },
          securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  } as never)
}

const said = () => cluster.logTail(NAMESPACE, 'attacker', 'attacker')

/** What others do meanwhile, who log in where the attack is. */
const visit = defineJourney(({ call, fresh }) => {
  const account = { email: fresh.email(), password: fresh.password() }
  call(user, 'register', { body: { ...account, name: 'Ada' } })
  const { accessToken: as } = call(user, 'logIn', { body: account })
  call(order, 'listProducts')
  call(user, 'getMe', { as })
  call(user, 'logIn', { body: account })
})

/** Visits at a fixed rate, for a while. @returns how many requests there were, and what was not answered as it should be */
async function askFor(ms: number, clients: readonly Client[]): Promise<{ asked: number; wrong: string[] }> {
  const load = offer(7, clients, visit)
  await sleep(ms)
  const { durationsMs, failures } = await load.stop()
  const unanswered = failures.filter(({ status }) => status === undefined)
  return { asked: durationsMs.length + unanswered.length, wrong: failures.map(({ reason }) => reason) }
}

/** Requests to log in that user's pods have answered with anything but 201 or 401: what sends no whole body would be among them. */
async function unfinishedLogins(): Promise<number> {
  let count = 0
  for (const pod of await readyPods(user.name)) {
    const { url, close } = await cluster.forward(settings.NAMESPACE, pod.metadata.name, 9_090)
    const metrics = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(10_000) }).then(answer => answer.text())
    close()
    const lines = metrics.split('\n').filter(line => /^http_server_request_duration_seconds_count\{.*http_route="\/sessions"/.test(line))
    for (const line of lines.filter(text => !/http_response_status_code="(201|401)"/.test(text))) count += Number(line.split(' ').at(-1))
  }
  return count
}

describe('300 connections that never finish a request', () => {
  let clients: Client[]

  beforeAll(async () => {
    await cluster.remove(attacker)
    // Twice as many as are under way when nothing is answered for ten seconds.
    clients = await newClients(40, visit)
    await cluster.apply(namespace)
  })
  afterAll(async () => {
    await cluster.remove(namespace)
    // A run right after this one would find it on its way out.
    await eventually(
      () => cluster.exists(namespace),
      there => expect(there).toBe(false),
      60_000,
    )
  })

  test('keep nobody else out, and do not reach a service', async () => {
    const before = await askFor(5_000, clients)
    expect(before.wrong).toEqual([])
    const unfinished = await unfinishedLogins()
    await startAttack()
    await eventually(said, log => expect(JSON.parse(log || '{}').opened ?? 0).toBeGreaterThanOrEqual(CONNECTIONS), 60_000)

    const during = await askFor(ATTACK_MS, clients)
    report(`${during.asked} requests, ${during.wrong.length} not answered as before; the attacker saw ${await said()}`)
    expect(during.wrong.length / during.asked, during.wrong.slice(0, 5).join('; ')).toBeLessThanOrEqual(0.01)
    expect(await unfinishedLogins()).toBe(unfinished)
  })
})
