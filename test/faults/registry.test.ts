import { createServer, type Server } from 'node:http'
import { type AddressInfo, Server as NetServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { z } from 'zod'
import { createClient } from '../../services/chassis/client/client.ts'
import { defineContract, strict } from '../../services/chassis/contract/contract.ts'
import { defineService } from '../../services/chassis/contract/graph.ts'
import { hasKnot, startKnot } from '../support/knot.ts'
import { testRuntime } from '../support/runtime.ts'

if (!hasKnot) process.stderr.write('SKIPPED: no DNS server has its records changed under load, for knot is not installed\n')

const contract = defineContract({
  // No retries: whatever fails is seen.
  addThing: {
    method: 'POST',
    path: '/things',
    summary: 'Adds',
    auth: 'none',
    body: strict({ name: z.string().max(9) }),
    responses: { 201: { description: 'Done' } },
  },
})
const common = {
  timeoutMs: 5_000,
  maxConcurrency: 10,
  slo: { availability: 0.99, latency: { thresholdMs: 100, objective: 0.9 } },
  scale: { min: 1, max: 1 },
}
const callee = defineService({ ...common, name: 'callee', port: 8_080, contract })
const caller = defineService({
  ...common,
  name: 'caller',
  port: 8_081,
  contract: {},
  calls: [{ to: callee, mode: 'required', attemptTimeoutMs: 5_000 }],
})

const NAME = '_http._tcp.user'

/** Instances of the callee, each on a host of its own. */
function instances() {
  const counts: Record<string, number> = {}
  const servers = new Map<string, Server>()
  const ports: Record<string, number> = {}
  /** Takes no more connections, and ends those that it has with an answer, as a service that drains. */
  const stop = async (host: string) => {
    const server = servers.get(host)
    servers.delete(host)
    if (!server) return
    // http's own close also ends connections that wait, on which a request may be under way.
    const closed = new Promise(resolve => NetServer.prototype.close.call(server, resolve))
    await Promise.race([closed, sleep(500)])
    server.closeIdleConnections()
    await closed
  }
  onTestFinished(async () => {
    for (const server of servers.values()) server.closeAllConnections()
    for (const host of [...servers.keys()]) await stop(host)
  })
  return {
    counts,
    stop,
    ports,
    start: async (host: string) => {
      const server = createServer((req, res) => {
        counts[host] = (counts[host] ?? 0) + 1
        req.resume().on('end', () => res.writeHead(201, servers.has(host) ? {} : { connection: 'close' }).end())
      })
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(ports[host] ?? 0, host, resolve))
      servers.set(host, server)
      ports[host] = (server.address() as AddressInfo).port
    },
  }
}

/** Calls without a pause, eight at once, until it is closed. */
function load(knot: { host: string; port: number }) {
  const runtime = testRuntime('caller')
  const client = createClient(caller, 'callee', {
    ...runtime,
    host: `srv:${NAME}.example`,
    registry: { servers: [`${knot.host}:${knot.port}`] },
    breaker: { minimumRps: 1_000_000 },
  })
  let isOver = false
  let made = 0
  const failures: unknown[] = []
  const call = () => client.call(runtime.scope(), 'addThing', { body: { name: 'x' } })
  const callers = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      await call().catch(error => failures.push(error))
      made++
      await sleep(2)
    }
  })
  const end = async () => {
    isOver = true
    await Promise.all(callers)
    await client.close()
  }
  onTestFinished(end)
  return {
    failures,
    metric: (name: string, labels = '') => runtime.metric(`discovery_${name}{peer_service="callee"${labels}}`),
    /** Goes on until so many more calls are made. */
    more: async (calls: number) => {
      const until = made + calls
      await vi.waitFor(() => expect(made).toBeGreaterThanOrEqual(until), { timeout: 20_000, interval: 10 })
    },
  }
}

const SHORT = { timeout: 15_000, interval: 50 }
const [A, B, C, D] = ['127.0.1.1', '127.0.1.2', '127.0.1.3', '127.0.1.4'] as const
/** Every address of this machine. */
const ANY = '0.0.0.0'
const ALL = [A, B, C, D, ANY]
const host = (address: string) => `h${address.replaceAll('.', '-')}`

describe.skipIf(!hasKnot)('a registry whose records change under load', () => {
  const begin = async () => {
    const pods = instances()
    for (const address of [A, B, C, D]) await pods.start(address)
    const records = (...offers: [address: string, weight?: number, priority?: number][]) =>
      offers.flatMap(([address, weight = 10, priority = 1]) => [
        `${NAME} SRV ${priority} ${weight} ${pods.ports[address]} ${host(address)}`,
        `${host(address)} A ${address}`,
      ])
    const knot = await startKnot(records([A], [B]))
    const calls = load(knot)
    const share = async (of: number) => {
      const before = { ...pods.counts }
      await calls.more(of)
      return Object.fromEntries(ALL.map(address => [address, (pods.counts[address] ?? 0) - (before[address] ?? 0)])) as Record<string, number>
    }
    /** Until the instances that are called are these. */
    const settled = (...wanted: string[]) =>
      vi.waitFor(async () => {
        const counted = await share(100)
        expect(Object.keys(counted).filter(address => (counted[address] ?? 0) > 0)).toEqual(wanted)
      }, SHORT)
    return { pods, records, knot, calls, share, settled }
  }

  test('has its instances called evenly, the new ones too, and none that is gone', async () => {
    const { pods, records, knot, calls, share, settled } = await begin()
    await settled(A, B)
    await knot.serve(records([A], [B], [C]))
    await settled(A, B, C)
    const counted = await share(300)
    for (const address of [A, B, C]) expect(Math.abs((counted[address] ?? 0) - 100)).toBeLessThan(10)
    await knot.serve(records([B], [C]))
    await settled(B, C)
    await pods.stop(A)
    await share(100)
    expect(calls.failures).toEqual([])
  })

  test('has new weights followed', async () => {
    const { records, knot, calls, share, settled } = await begin()
    await settled(A, B)
    await knot.serve(records([A, 10], [B, 30]))
    await vi.waitFor(async () => {
      const counted = await share(200)
      expect((counted[B] ?? 0) / (counted[A] ?? 1)).toBeCloseTo(3, 0)
    }, SHORT)
    expect(calls.failures).toEqual([])
  })

  test('has the next priority called once all above are dead, and the first again when it is back', async () => {
    const { pods, records, knot, calls, settled } = await begin()
    await knot.serve(records([A], [B], [C, 10, 2]))
    await vi.waitFor(async () => expect(await calls.metric('addresses')).toBe(3), SHORT)
    await settled(A, B)
    await pods.stop(A)
    await settled(B)
    await pods.stop(B)
    await settled(C)
    expect(calls.failures).toEqual([])
    await pods.start(A)
    await settled(A)
    expect(calls.failures).toEqual([])
  })

  test('may be away: the last answer counts, and what it says when it is back', async () => {
    const { records, knot, calls, share, settled } = await begin()
    await settled(A, B)
    await knot.kill()
    const failed = () => calls.metric('lookups_total', ',outcome="failed"')
    await vi.waitFor(async () => expect(await failed()).toBeGreaterThan(0), SHORT)
    await share(300)
    await knot.serve(records([C], [D]))
    await knot.start()
    await settled(C, D)
    expect(calls.failures).toEqual([])
  })

  test('may have more instances than fit into a datagram', async () => {
    const { pods, knot, calls, settled } = await begin()
    await pods.start(ANY)
    const many = Array.from({ length: 200 }, (_, n) => `${NAME} SRV 1 10 ${pods.ports[ANY]} instance-${n}-of-the-user-service`)
    const hosts = many.map((_, n) => `instance-${n}-of-the-user-service A 127.0.2.${n + 1}`)
    await knot.serve([...many, ...hosts])
    await vi.waitFor(async () => expect(await calls.metric('addresses')).toBe(200), SHORT)
    await settled(ANY)
    expect(calls.failures).toEqual([])
  })

  test('may be wrong: dead addresses and hosts that are not there cost nothing but a moment', async () => {
    const { pods, records, knot, calls, settled } = await begin()
    await knot.serve([
      ...records([A]),
      `${NAME} SRV 1 10 ${pods.ports[A]} nobody`,
      `${NAME} SRV 1 10 1 ${host(A)}`,
      `${NAME} SRV 0 10 ${pods.ports[A]} ${host(B)}`,
      `${host(B)} A 127.0.9.9`,
    ])
    await settled(A)
    await knot.serve([`${NAME} CNAME loop`, `loop CNAME ${NAME}`])
    await vi.waitFor(async () => expect(await calls.metric('lookups_total', ',outcome="failed"')).toBeGreaterThan(0), SHORT)
    await settled(A)
    expect(calls.failures).toEqual([])
  })

  test('may say that nobody is there: at once on purpose, and with the last ones for a while otherwise', async () => {
    const { records, knot, calls, settled } = await begin()
    await settled(A, B)
    await knot.serve([])
    await vi.waitFor(async () => expect(await calls.metric('lookups_total', ',outcome="empty"')).toBeGreaterThan(0), SHORT)
    await settled(A, B)
    expect(calls.failures).toEqual([])
    await knot.serve([`${NAME} SRV 0 0 0 .`])
    await vi.waitFor(() => expect(calls.failures.length).toBeGreaterThan(0), SHORT)
    expect(calls.failures[0]).toMatchObject({ code: 'unreachable', cause: { message: `${NAME}.example has no address` } })
    await knot.serve(records([C]))
    await settled(C)
  })
})
