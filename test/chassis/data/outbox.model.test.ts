import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CallError } from '../../../services/chassis/contract/call-error.ts'
import { newId } from '../../../services/chassis/contract/ids.ts'
import type { CallCallee, Settling } from '../../../services/chassis/data/delivery.ts'
import { claim, type Message, putBack } from '../../../services/chassis/data/messages.ts'
import { openOutbox } from '../../../services/chassis/data/outbox.ts'
import { booking } from '../../support/commands.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { testRuntime } from '../../support/runtime.ts'

/** What becomes of a call: it is answered, lost, refused for good, or answered when the model lets it go. */
const FATES = ['pass', 'lose', 'refuse', 'delay'] as const
type Fate = (typeof FATES)[number]

/** A message that was sent; a transaction that is still open, or was rolled back, is not committed. */
interface Sent {
  subject: string
  what: string
  committed: boolean
}

interface Open {
  /** Once it has the subject's lock. */
  sent: Promise<Sent>
  end(commit: boolean): Promise<unknown>
}

interface World {
  subjects: string[]
  /** In the order in which they were written: for a subject that is the order of commits. */
  written: Sent[]
  settled: string[]
  /** Withdrawn or dropped. */
  taken: Set<string>
  /** What must not happen, where an error would be taken for one of the network. */
  wrong: string[]
  open: Open[]
  delayed: (() => Promise<unknown>)[]
  network: { fate: Fate; release: (() => void) | undefined }
  outbox: ReturnType<typeof openPod>
}

type Command = fc.AsyncCommand<Record<string, never>, World>

const runtime = testRuntime()
const scope = () => runtime.scope(60_000)
let db: TestDatabase

beforeAll(async () => {
  // The server ends a transaction that is idle for so long; those of the model wait for their turn.
  db = await testDatabase('booking', { runtime, poolSize: 30, statementTimeoutMs: 60_000 })
})
afterAll(() => db?.close())

const whatOf = ({ payload }: Message) => (payload as { body: { sku: string } }).body.sku
const LEFT =
  'select id, kind, version, subject_id as "subjectId", sequence, payload, attempts, parked_at as parked from outbox order by subject_id, sequence'
const left = () => db.sql<Message & { parked: Date | null }>(LEFT)
/** Of this run alone. */
const leftWhats = async () => (await left()).map(whatOf)

function openPod(world: () => World) {
  const call: CallCallee = async (_scope, _callee, _operation, options) => {
    const { written, network, wrong } = world()
    const { fate } = network
    const { sku: what } = (options as unknown as { body: { sku: string } }).body
    const own = written.findIndex(sent => sent.what === what)
    const earlier = written.slice(0, own).filter(sent => sent.committed && sent.subject === written[own]?.subject)
    const there = await leftWhats()
    const overtaken = earlier.filter(sent => there.includes(sent.what)).map(sent => sent.what)
    if (overtaken.length > 0) wrong.push(`${what} is called before ${overtaken}`)
    if (fate === 'lose') throw new CallError('timeout', 'lost')
    if (fate === 'refuse') return { status: 400, problem: { code: 'invalid-request', detail: '' } }
    if (fate === 'delay')
      await new Promise<void>(resolve => {
        network.release = resolve
      })
    return { status: 200, body: { left: 3 } } as never
  }
  const settle = async (what: string, { tx }: Settling) => tx.afterCommit(() => world().settled.push(what))
  const { outbox, handlerOf } = openOutbox({ ...runtime, service: booking, database: db.database, call })
  // The settler is told what was sent by the one who delivers, so that each is known by its name.
  const attempt = (message: Message<'stock.reserve'>) => outbox.attempt(scope(), message, (_answer, at) => settle(whatOf(message), at))
  const deliver = async (message: Message) => {
    const one = async (_answer: unknown, at: Settling) => settle(whatOf(message), at)
    const outcome = await handlerOf({ 'stock.reserve': one, 'stock.release': one })(message, scope())
    if (outcome.kind !== 'done') await putBack(db.database, scope(), message, outcome, 0)
  }
  return { outbox, attempt, deliver }
}

async function newWorld(): Promise<World> {
  await db.sql('delete from outbox')
  const world: World = {
    subjects: [newId(), newId()],
    written: [],
    settled: [],
    taken: new Set(),
    wrong: [],
    open: [],
    delayed: [],
    network: { fate: 'pass', release: undefined },
    outbox: openPod(() => world),
  }
  return world
}

let names = 0

class RolledBack extends Error {}

/** Begins a transaction that sends, and holds it open; it waits while another has the subject. */
function begin(world: World, subject: string, leased: boolean, fate: Fate): Open {
  const ending = Promise.withResolvers<boolean>()
  const sent = Promise.withResolvers<Sent>()
  const what = `message ${++names}`
  const work = db.database.transaction(scope(), async tx => {
    const parts = { params: { id: subject }, body: { sku: what } }
    const message = await world.outbox.outbox.send(tx, scope(), 'stock.reserve', subject, parts, { leased })
    const entry = { subject, what, committed: false }
    world.written.push(entry)
    sent.resolve(entry)
    if (!(await ending.promise)) throw new RolledBack()
    tx.afterCommit(() => {
      entry.committed = true
    })
    return message
  })
  const settled = work.then(
    async message => {
      if (leased) await underWay(world, fate, () => world.outbox.attempt(message))
    },
    error => {
      if (!(error instanceof RolledBack)) world.wrong.push(`${what}: ${error}`)
    },
  )
  return {
    sent: sent.promise,
    end: commit => {
      ending.resolve(commit)
      return settled
    },
  }
}

/** Does work whose calls have this fate, up to its end or to where it is delayed. */
async function underWay({ network, delayed }: World, fate: Fate, work: () => Promise<unknown>): Promise<void> {
  network.fate = fate
  const running = work()
  let ended = false
  const end = () => {
    ended = true
  }
  running.then(end, end)
  while (!ended && !network.release) await new Promise(resolve => setImmediate(resolve))
  const { release } = network
  network.release = undefined
  network.fate = 'pass'
  if (!release) await running
  else
    delayed.push(() => {
      release()
      return running
    })
}

const isGranted = (open: Open) => Promise.race([open.sent.then(() => true), new Promise<false>(resolve => setTimeout(resolve, 10, false))])

const command = (name: string, run: (world: World) => Promise<unknown>): Command => ({
  toString: () => name,
  check: () => true,
  run: async (_model, world) => {
    await run(world)
    await checkInvariants(world)
  },
})

const send = (n: number, leased: boolean, fate: Fate) =>
  command(`send(${n}, ${leased ? 'leased' : 'left'}, ${fate})`, async world => {
    const open = begin(world, world.subjects[n] as string, leased, fate)
    // Where another transaction has the subject it stays open, like any that waits.
    if (await isGranted(open)) await open.end(true)
    else world.open.push(open)
  })

const hold = (n: number) =>
  command(`begin(${n})`, async world => {
    const open = begin(world, world.subjects[n] as string, false, 'pass')
    world.open.push(open)
    await isGranted(open)
  })

const end = (n: number, commit: boolean) =>
  command(`${commit ? 'commit' : 'roll back'}(${n})`, async world => {
    for (const [index, open] of [...world.open.entries()].slice(n % Math.max(1, world.open.length))) {
      if (!(await isGranted(open))) continue
      world.open.splice(index, 1)
      await open.end(commit)
      return
    }
  })

/** A round of a relay: what it claims is attempted at the same time, as it is there. */
const relay = (limit: number, fate: Fate) =>
  command(`relay(${limit}, ${fate})`, async world => {
    for (const message of await claim(db.database, scope(), 60_000, limit)) await underWay(world, fate, () => world.outbox.deliver(message))
  })

/** Leases run out: what is under way is attempted again. */
const expire = () => command('expire', () => db.sql('update outbox set due_at = now()'))

const arrive = (n: number) =>
  command(`arrive(${n})`, async ({ delayed }) => {
    const [late] = delayed.splice(n % Math.max(1, delayed.length), 1)
    await late?.()
  })

const decide = (n: number, what: 'retry' | 'drop' | 'withdraw') =>
  command(`${what}(${n})`, async world => {
    const there = (await left()).filter(({ parked }) => what === 'withdraw' || parked !== null)
    const message = there[n % Math.max(1, there.length)]
    if (!message) return
    if (what === 'retry') await db.sql('update outbox set parked_at = null, attempts = 0, due_at = now() where id = $1', [message.id])
    else {
      world.taken.add(whatOf(message))
      await db.sql('delete from outbox where id = $1', [message.id])
    }
  })

async function checkInvariants({ subjects, written, settled, taken, wrong }: World): Promise<void> {
  expect(wrong).toEqual([])
  expect(
    settled.filter(what => taken.has(what)),
    'nothing is settled that was taken',
  ).toEqual([])
  expect(settled, 'nothing is settled twice').toEqual([...new Set(settled)])
  const there = await left()
  for (const subject of subjects) {
    const own = written.filter(sent => sent.subject === subject && sent.committed).map(({ what }) => what)
    const waiting = own.filter(what => !settled.includes(what) && !taken.has(what))
    expect(
      there.filter(({ subjectId }) => subjectId === subject).map(whatOf),
      'what is neither settled nor taken is there, in the order of commits',
    ).toEqual(waiting)
    expect(
      settled.filter(what => own.includes(what)),
      'settled in the order of commits',
    ).toEqual(own.filter(what => settled.includes(what)))
  }
}

/** Relays alone, over a good network. */
async function deliverAll(world: World): Promise<void> {
  for (;;) {
    await db.sql('update outbox set due_at = now()')
    const messages = await claim(db.database, scope(), 60_000, 20)
    if (messages.length === 0) return
    for (const message of messages) await world.outbox.deliver(message)
  }
}

async function drain(world: World): Promise<void> {
  // One that waits for another's lock comes after that other, wherever it stands.
  while (world.open.length > 0)
    for (const open of world.open.splice(0)) {
      if (await isGranted(open)) await open.end(true)
      else world.open.push(open)
    }
  for (const late of world.delayed) await late()
  await deliverAll(world)
  const blocked = await left()
  for (const subject of world.subjects) {
    const [first] = blocked.filter(({ subjectId }) => subjectId === subject)
    expect(first?.parked, 'only what is parked, and what waits for it, stays').not.toBeNull()
  }
  await db.sql('update outbox set parked_at = null')
  await deliverAll(world)
  await checkInvariants(world)
  expect(await left()).toEqual([])
}

const subject = fc.nat(1)
const index = fc.nat(10)
const fate = fc.oneof({ weight: 2, arbitrary: fc.constant<Fate>('pass') }, { weight: 3, arbitrary: fc.constantFrom(...FATES) })

const commands = fc.commands<Record<string, never>, World, false>(
  [
    fc.tuple(subject, fc.boolean(), fate).map(values => send(...values)),
    subject.map(hold),
    fc.tuple(index, fc.boolean()).map(values => end(...values)),
    fc.tuple(fc.integer({ min: 1, max: 5 }), fate).map(values => relay(...values)),
    fc.constant(null).map(expire),
    index.map(arrive),
    fc.tuple(index, fc.constantFrom('retry', 'drop', 'withdraw')).map(values => decide(...values)),
  ],
  { maxCommands: 25, size: 'max' },
)

test('messages of a subject are called, settled and kept in the order of commits, whatever runs between', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async sequence => {
      const world = await newWorld()
      try {
        await fc.asyncModelRun(() => ({ model: {}, real: world }), sequence)
        await drain(world)
      } finally {
        for (const open of world.open) void open.end(false)
      }
    }),
    { numRuns: 60, endOnFailure: false, interruptAfterTimeLimit: 25_000 },
  )
})
