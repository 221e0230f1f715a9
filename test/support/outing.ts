import { onTestFinished } from 'vitest'
import { defineJourney } from '../../services/chassis/contract/journey.ts'
import { desk, stock } from './journey-services.ts'
import { startTinyService } from './tiny-service.ts'

/** A text that neither a shell nor JSON takes as it is. */
export const AWKWARD = `O'Neill & "sons" $HOME \\`

/** A journey with one of everything. */
export const outing = defineJourney(({ call, fresh }) => {
  call(stock, 'prices', { query: { currency: 'EUR' } })
  call(stock, 'price', { params: { sku: AWKWARD } })
  const email = fresh.email()
  const { accessToken: as, expiresIn } = call(desk, 'logIn', { body: { email, password: fresh.password() } })
  const { id, seats } = call(desk, 'book', {
    as,
    params: { id: fresh.id() },
    body: { sku: 'bike', row: expiresIn, names: [AWKWARD, 'two  spaces *', email] },
    crosses: ['stock'],
  })
  call(desk, 'get', { as, params: { id }, headers: { 'x-seat': seats[0].name, 'x-note': "it's mine" }, until: ({ state }) => state === 'held' })
  call(desk, 'book', { as, params: { id }, body: { sku: 'bike', names: [seats[1].name] } })
  call(desk, 'pay', { as, params: { id }, body: { cents: 1 } })
  call(desk, 'leave', { as, params: { id } })
})

/** Both services in this process until the test is over. A booking is held when it is looked at the second time. */
export async function serveOuting() {
  const asked: string[] = []
  const bookings = new Map<string, { owner: string; looks: number; row: number; names: string[] }>()
  const shown = (id: string) => {
    const { looks = 0, row = 0, names = [] } = bookings.get(id) ?? {}
    return { id, state: looks < 2 ? ('pending' as const) : ('held' as const), seats: names.map(name => ({ row, name })) }
  }
  const note = (what: string) => asked.push(what)
  const refused = async () => Promise.reject(new Error('no service asks here'))
  const stocks = await startTinyService(
    stock.contract,
    {
      prices: async ({ query }) => {
        note(`prices ${query.currency}`)
        return { status: 200, body: { byName: { bike: 3 }, newest: null, raw: null } }
      },
      price: async ({ params: { sku } }) => {
        note(`price ${sku}`)
        return { status: 200, body: { sku, cents: 3 } }
      },
      reserve: async () => ({ status: 204 }),
      getOpenApi: async () => ({ status: 200, body: {} }),
    },
    { verifiers: { workload: refused } },
  )
  const desks = await startTinyService(
    desk.contract,
    {
      logIn: async ({ body: { email } }) => {
        note('logIn')
        return { status: 201, body: { accessToken: `token-of-${email.split('@')[0]}`, expiresIn: 300 } }
      },
      book: async ({ params: { id }, principal, body: { row = 0, names } }) => {
        note(`book ${row} ${names[0]}`)
        bookings.set(id, { owner: principal.id, looks: 0, row, names })
        return { status: 202, body: shown(id) }
      },
      get: async ({ params: { id }, principal }) => {
        const booking = bookings.get(id)
        if (booking?.owner === principal.id) booking.looks++
        note(`get ${shown(id).state}`)
        return { status: 200, body: shown(id) }
      },
      pay: async ({ params: { id }, idempotencyKey, body: { cents } }) => {
        note(`pay ${cents} ${idempotencyKey.length > 5}`)
        return { status: 201, body: shown(id) }
      },
      leave: async ({ params: { id } }) => {
        note(`leave ${bookings.delete(id)}`)
        return { status: 204 }
      },
      getOpenApi: async () => ({ status: 200, body: {} }),
    },
    { verifiers: { user: async token => ({ kind: 'user', id: token }) } },
  )
  for (const { close } of [stocks, desks]) onTestFinished(close)
  return { asked, origin: (service: string) => (service === 'stock' ? stocks.url : desks.url) }
}
