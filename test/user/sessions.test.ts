import { createHash } from 'node:crypto'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectNoSecrets, startUserService, type TestUserService } from '../shop/support/user-service.ts'
import { expectProblem, type Reply } from '../support/http.ts'

const JSON_TYPE = expect.stringMatching(/^application\/json\b/)

let user: TestUserService

beforeAll(async () => {
  user = await startUserService()
})
afterAll(() => user?.close())

const refresh = (refreshToken: string) => user.http('POST', '/sessions/refresh', { json: { refreshToken } })
const me = (token: string) => user.http('GET', '/users/me', { token })
const sessionOf = (token: string) => decodeJwt(token).sid as string

function expectTokens(reply: Reply): void {
  expect({ status: reply.status, type: reply.type, cache: reply.headers.get('cache-control') }).toEqual({
    status: 201,
    type: JSON_TYPE,
    cache: 'no-store',
  })
  expect(reply.body).toEqual({
    accessToken: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
    refreshToken: expect.stringMatching(/^[\w-]{43}$/),
    tokenType: 'Bearer',
    expiresIn: 300,
  })
}

describe('POST /sessions', () => {
  test('is 201 with tokens that nobody may cache', async () => {
    const { email, password, id } = await user.newUser()
    const reply = await user.logIn(email, password)
    expectTokens(reply)
    expect((await me(reply.body.accessToken)).body.id).toBe(id)
  })

  test('each log-in is a session of its own', async () => {
    const { email, password, token } = await user.newUser()
    const { body } = await user.logIn(email, password)
    expect(sessionOf(body.accessToken)).not.toBe(sessionOf(token))
  })

  test('takes the e-mail address in any case', async () => {
    const { email, password } = await user.newUser()
    expectTokens(await user.logIn(email.toUpperCase(), password))
  })

  test('answers an unknown user exactly as a wrong password', async () => {
    const { email } = await user.newUser()
    const wrong = await user.logIn(email, 'not the password')
    const unknown = await user.logIn('nobody@example.org', 'not the password')
    expectProblem(wrong, 401, 'bad-credentials')
    expect(wrong.headers.get('www-authenticate')).toBe('Bearer realm="fairlead"')
    const told = ({ status, headers, body }: Reply) => ({
      status,
      body,
      headers: Object.fromEntries([...headers].filter(([name]) => !['date', 'traceparent', 'x-trace-id'].includes(name))),
    })
    expect(told(unknown)).toEqual(told(wrong))
  })

  test.each([
    ['no address at all', 'not an address'],
    ['an address that nobody may register', `${'a'.repeat(200)}@example.org`],
    ['nothing', ''],
  ])('does not judge the e-mail address: %s', async (_name, email) => {
    expectProblem(await user.logIn(email, 'not the password'), 401, 'bad-credentials')
  })

  test('refuses a password over 256 code points before it is hashed', async () => {
    const { email } = await user.newUser()
    expectProblem(await user.logIn(email, 'x'.repeat(257)), 400, 'invalid-request')
  })

  test('counts log-ins by outcome', async () => {
    const { email, password } = await user.newUser()
    const outcomes = () => Promise.all(['ok', 'bad-credentials'].map(outcome => user.runtime.metric(`logins_total{outcome="${outcome}"}`)))
    const [ok = 0, bad = 0] = await outcomes()
    await user.logIn(email, password)
    await user.logIn(email, 'not the password')
    expect(await outcomes()).toEqual([ok + 1, bad + 1])
  })
})

describe('POST /sessions/refresh', () => {
  test('trades the token for new ones of the same session', async () => {
    const { id, token, refreshToken } = await user.newUser()
    const reply = await refresh(refreshToken)
    expectTokens(reply)
    expect(reply.body.refreshToken).not.toBe(refreshToken)
    expect(sessionOf(reply.body.accessToken)).toBe(sessionOf(token))
    expect((await me(reply.body.accessToken)).body.id).toBe(id)
    expect((await refresh(reply.body.refreshToken)).status).toBe(201)
  })

  test('keeps only the SHA-256 of a token', async () => {
    const { token, refreshToken } = await user.newUser()
    const rows = await user.db.sql<{ token_hash: Buffer }>('select * from refresh_tokens where session_id = $1', [sessionOf(token)])
    expect(rows.map(row => row.token_hash)).toEqual([createHash('sha256').update(refreshToken).digest()])
  })

  test('a used token is 401 and ends its whole family', async () => {
    const { token, refreshToken } = await user.newUser()
    const second = (await refresh(refreshToken)).body
    const third = (await refresh(second.refreshToken)).body
    const reused = await refresh(refreshToken)
    expectProblem(reused, 401, 'refresh-reused')
    expect(reused.headers.get('www-authenticate')).toBe('Bearer realm="fairlead"')
    expectProblem(await refresh(third.refreshToken), 401, 'refresh-invalid')
    for (const access of [token, second.accessToken, third.accessToken]) expectProblem(await me(access), 401, 'unauthorized')
  })

  test("a used token leaves the user's other sessions alone", async () => {
    const { email, password, refreshToken } = await user.newUser()
    const other = (await user.logIn(email, password)).body
    await refresh(refreshToken)
    expectProblem(await refresh(refreshToken), 401, 'refresh-reused')
    expect((await me(other.accessToken)).status).toBe(200)
    expect((await refresh(other.refreshToken)).status).toBe(201)
  })

  test('one of many refreshes of a token at once wins, and the session ends', async () => {
    const { token, refreshToken } = await user.newUser()
    const replies = await Promise.all(Array.from({ length: 8 }, () => refresh(refreshToken)))
    const won = replies.filter(reply => reply.status === 201)
    expect(won).toHaveLength(1)
    for (const lost of replies.filter(reply => reply !== won[0])) expectProblem(lost, 401, 'refresh-reused')
    expectProblem(await me(token), 401, 'unauthorized')
    expectProblem(await refresh(won[0]?.body.refreshToken), 401, 'refresh-invalid')
  })

  test('an unknown token is 401', async () => {
    const reply = await refresh('A'.repeat(43))
    expectProblem(reply, 401, 'refresh-invalid')
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead"')
  })

  test('a token works for 14 days unused, each trade anew, and a session for 90 days at most', async () => {
    const { token, refreshToken } = await user.newUser()
    await user.db.sql("update sessions set expires_at = expires_at - interval '30 days' where id = $1", [sessionOf(token)])
    await refresh(refreshToken)
    const [row] = await user.db.sql(
      `select round(extract(epoch from max(t.expires_at) - now()) / 86400)::int as idle, round(extract(epoch from s.expires_at - now()) / 86400)::int as absolute
       from refresh_tokens t join sessions s on s.id = t.session_id where s.id = $1 and t.used_at is null group by s.expires_at`,
      [sessionOf(token)],
    )
    expect(row).toEqual({ idle: 14, absolute: 60 })
  })

  test('a token that was idle too long is 401', async () => {
    const { token, refreshToken } = await user.newUser()
    await user.db.sql("update refresh_tokens set expires_at = now() - interval '1 second' where session_id = $1", [sessionOf(token)])
    expectProblem(await refresh(refreshToken), 401, 'refresh-invalid')
  })

  test('a session past its absolute end is 401, however fresh its tokens', async () => {
    const { token, refreshToken } = await user.newUser()
    await user.db.sql("update sessions set expires_at = now() - interval '1 second' where id = $1", [sessionOf(token)])
    expectProblem(await refresh(refreshToken), 401, 'refresh-invalid')
    expectProblem(await me(token), 401, 'unauthorized')
  })

  test.each([
    ['an access token', 'eyJhbGciOiJFZERTQSJ9.e30.x'],
    ['one letter too many', 'A'.repeat(44)],
    ['nothing', ''],
  ])('refuses what is no refresh token: %s', async (_name, token) => {
    const reply = await refresh(token)
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([{ field: 'body.refreshToken', message: 'is not a refresh token' }])
  })
})

describe('DELETE /sessions/current', () => {
  test('is 204 and ends the access and the refresh token of this session only', async () => {
    const { email, password, token, refreshToken } = await user.newUser()
    const other = (await user.logIn(email, password)).body
    const reply = await user.http('DELETE', '/sessions/current', { token })
    expect({ status: reply.status, body: reply.body }).toEqual({ status: 204, body: '' })
    const after = await me(token)
    expectProblem(after, 401, 'unauthorized')
    expect(after.headers.get('www-authenticate')).toBe('Bearer realm="fairlead", error="invalid_token"')
    expectProblem(await refresh(refreshToken), 401, 'refresh-invalid')
    expect((await me(other.accessToken)).status).toBe(200)
  })

  test('ends the session of refreshed tokens too', async () => {
    const { token, refreshToken } = await user.newUser()
    const next = (await refresh(refreshToken)).body
    await user.http('DELETE', '/sessions/current', { token })
    expectProblem(await me(next.accessToken), 401, 'unauthorized')
    expectProblem(await refresh(next.refreshToken), 401, 'refresh-invalid')
  })

  test('twice is 401 the second time', async () => {
    const { token } = await user.newUser()
    await user.http('DELETE', '/sessions/current', { token })
    expectProblem(await user.http('DELETE', '/sessions/current', { token }), 401, 'unauthorized')
  })

  test('without a token is 401', async () => {
    expectProblem(await user.http('DELETE', '/sessions/current'), 401, 'unauthorized')
  })
})

describe('the audit trail', () => {
  const eventsOf = (userId: string) =>
    user.runtime.lines.filter(line => line.msg === 'audit' && line.user_id === userId).map(({ event, session_id }) => [event, session_id])

  test('names user and session of what happened to an account', async () => {
    const { id, email, password, token, refreshToken } = await user.newUser()
    const first = sessionOf(token)
    await user.logIn(email, 'not the password')
    const { body } = await user.logIn(email, password)
    const second = sessionOf(body.accessToken)
    await user.http('PUT', '/users/me/password', {
      token: body.accessToken,
      json: { oldPassword: 'not the password', newPassword: 'staple of the battery' },
    })
    await user.http('PUT', '/users/me/password', { token: body.accessToken, json: { oldPassword: password, newPassword: 'staple of the battery' } })
    await refresh(body.refreshToken)
    await user.http('DELETE', '/sessions/current', { token: body.accessToken })
    expectProblem(await refresh(refreshToken), 401, 'refresh-invalid')
    expect(eventsOf(id)).toEqual([
      ['registered', undefined],
      ['logged-in', first],
      ['log-in-failed', undefined],
      ['logged-in', second],
      ['password-change-failed', second],
      ['password-changed', second],
      ['refreshed', second],
      ['logged-out', second],
    ])
  })

  test('warns of each reuse with its trace and counts the session that it ended once', async () => {
    const { id, token, refreshToken } = await user.newUser()
    const reuses = () => user.runtime.metric('refresh_reuse_total')
    await refresh(refreshToken)
    const before = (await reuses()) ?? 0
    for (let i = 0; i < 3; i++) expectProblem(await refresh(refreshToken), 401, 'refresh-reused')
    expect(await reuses()).toBe(before + 1)
    const warned = user.runtime.lines.filter(({ event, user_id }) => event === 'refresh-reused' && user_id === id)
    expect(warned).toHaveLength(3)
    for (const line of warned)
      expect(line).toMatchObject({ level: 'warn', session_id: sessionOf(token), trace_id: expect.stringMatching(/^[0-9a-f]{32}$/) })
  })

  test('an access line names who a token proved, and nobody where there is none', async () => {
    const { id, token } = await user.newUser()
    user.runtime.lines.length = 0
    await me(token)
    await me('token')
    await user.http('DELETE', `/reservations/${id}`, { token: user.workloadToken })
    const named = user.runtime.lines
      .filter(({ msg }) => msg === 'request')
      .map(({ user_id, session_id, workload }) => ({ user_id, session_id, workload }))
    expect(named).toEqual([{ user_id: id, session_id: sessionOf(token) }, {}, { workload: 'order' }])
  })
})

test('no log line and no span has a secret of these requests', () => expectNoSecrets(user))
