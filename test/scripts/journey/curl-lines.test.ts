import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { curlLines } from '../../../scripts/journey/curl-lines.ts'
import { defineJourney } from '../../../services/chassis/contract/journey.ts'
import { desk } from '../../support/journey-services.ts'
import { AWKWARD, outing, serveOuting } from '../../support/outing.ts'

const origin = (service: string) => `http://${service}.localhost`

/** Runs lines as somebody would who pastes them. Whatever is not answered 2xx fails. */
async function paste(lines: string): Promise<string[]> {
  const strict = 'set -euo pipefail; curl() { command curl --fail-with-body "$@"; }\n'
  const { stdout } = await promisify(execFile)('bash', ['-c', strict + lines], { timeout: 20_000 })
  return stdout.trim().split('\n')
}

describe('curlLines(journey)', () => {
  test('is a call per step, with variables for what comes from another answer', () => {
    const journey = defineJourney(({ call, fresh }) => {
      const { accessToken: as } = call(desk, 'logIn', { body: { email: fresh.email(), password: 'correct horse battery' } })
      const { id } = call(desk, 'book', { as, params: { id: fresh.id() }, body: { sku: 'bike', names: [] } })
      call(desk, 'get', { as, params: { id }, until: ({ state }) => state === 'held' })
      call(desk, 'leave', { as, params: { id } })
    })
    const [newId, member, ...lines] = curlLines(journey, { origin }).split('\n')
    expect([newId?.slice(0, 8), member?.slice(0, 8)]).toEqual(['new_id()', 'member()'])
    expect(lines).toEqual([
      '# Log in',
      `ANSWER=$(curl -sS http://desk.localhost/sessions -H 'content-type: application/json' -d '{"email":"'ada-$RANDOM$RANDOM@example.org'","password":"correct horse battery"}'); echo "$ANSWER"; TOKEN=$(member .accessToken)`,
      '# Book',
      `ANSWER=$(curl -sS -X PUT http://desk.localhost/bookings/$(new_id) -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' -d '{"sku":"bike","names":[]}'); echo "$ANSWER"; DESK_ID=$(member .id)`,
      // As the file says it, or as it was compiled.
      expect.stringMatching(/^# One; again until \(\{ state \}\) => state === ['"]held['"]$/),
      `curl -sSw '\\n' http://desk.localhost/bookings/$DESK_ID -H "authorization: Bearer $TOKEN"`,
      '# Leave',
      `curl -sSw '%{http_code}\\n' -X DELETE http://desk.localhost/bookings/$DESK_ID -H "authorization: Bearer $TOKEN"`,
      '',
    ])
  })

  test('works as it stands, twice, whatever a shell would make of the values', async () => {
    const { asked, origin } = await serveOuting()
    const lines = curlLines(outing, { origin })
    const [prices, price, session, booking, seen, again, paid, left, ...more] = await paste(lines)
    expect(more).toEqual([])
    expect(JSON.parse(prices as string)).toMatchObject({ byName: { bike: 3 } })
    expect(JSON.parse(price as string)).toMatchObject({ sku: AWKWARD })
    const { accessToken } = JSON.parse(session as string)
    expect(accessToken).toMatch(/^token-of-ada-\d+$/)
    const { id, ...taken } = JSON.parse(booking as string)
    const email = `${accessToken.replace('token-of-', '')}@example.org`
    expect(taken).toEqual({ state: 'pending', seats: [AWKWARD, 'two  spaces *', email].map(name => ({ row: 300, name })) })
    expect(JSON.parse(again as string).seats).toEqual([{ row: 0, name: 'two  spaces *' }])
    expect([seen, paid].map(line => JSON.parse(line as string).id)).toEqual([id, id])
    expect(left).toBe('204')
    expect(asked).toEqual([
      'prices EUR',
      `price ${AWKWARD}`,
      'logIn',
      `book 300 ${AWKWARD}`,
      'get pending',
      'book 0 two  spaces *',
      'pay 1 true',
      'leave true',
    ])
    const [, , another] = await paste(lines)
    expect(JSON.parse(another as string).accessToken).not.toBe(accessToken)
  })

  test('takes the token of a user of a foreign issuer as it is told, or from the environment, and runs the curl that it is given', () => {
    const journey = defineJourney(({ call, fresh, user }) => {
      const id = fresh.id()
      for (const as of [user(), user('bob'), user()]) call(desk, 'get', { as, params: { id } })
    })
    const lines = curlLines(journey, { origin, curl: 'curl --cacert ca.crt' })
    expect(lines.split('\n').filter(line => /^TOKEN|^NEW_ID/.test(line))).toEqual([
      expect.stringMatching(/^TOKEN="\$\{FAIRLEAD_USER_TOKEN:\?.* of ada\}"$/),
      'NEW_ID=$(new_id)',
      expect.stringMatching(/^TOKEN_2="\$\{FAIRLEAD_USER_TOKEN:\?.* of bob\}"$/),
    ])
    const given = curlLines(journey, { origin, userToken: name => `$(cat ${name}.jwt)` })
    expect(given.match(/^TOKEN.*$/gm)).toEqual(['TOKEN=$(cat ada.jwt)', 'TOKEN_2=$(cat bob.jwt)'])
    expect(
      lines.match(/^curl --cacert ca\.crt -sSw '\\n' http:\/\/desk\.localhost\/bookings\/\$NEW_ID -H "authorization: Bearer \$\w+"$/gm),
    ).toHaveLength(3)
  })
})
