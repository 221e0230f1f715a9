import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectNoSecrets, startUserService, type TestUserService } from '../shop/support/user-service.ts'
import { expectProblem } from '../support/http.ts'

const JSON_TYPE = expect.stringMatching(/^application\/json\b/)

let user: TestUserService

beforeAll(async () => {
  user = await startUserService()
})
afterAll(() => user?.close())

const PASSWORD = 'correct horse battery'
let count = 0
const newEmail = () => `users-${++count}@example.org`
const register = (json: Record<string, unknown>) =>
  user.http('POST', '/users', { json: { email: newEmail(), password: PASSWORD, name: 'Ada', ...json } })
const invalidFields = (reply: { body: { errors: { field: string }[] } }) => reply.body.errors.map(error => error.field)

describe('POST /users', () => {
  test('is 201 with a Location and the user', async () => {
    const email = newEmail()
    const reply = await register({ email, name: 'Ada Lovelace' })
    expect({ status: reply.status, type: reply.type, location: reply.headers.get('location') }).toEqual({
      status: 201,
      type: JSON_TYPE,
      location: '/users/me',
    })
    expect(reply.body).toEqual({ id: expect.any(String), email, name: 'Ada Lovelace', createdAt: expect.stringMatching(/^\d{4}-.*Z$/) })
  })

  test('stores the password as an argon2id hash only', async () => {
    const { body } = await register({})
    const [row] = await user.db.sql('select * from users where id = $1', [body.id])
    expect(row?.password_hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
    expect(JSON.stringify(row)).not.toContain(PASSWORD)
  })

  test('keeps the address as it was given', async () => {
    const email = `Users.${++count}@Example.ORG`
    expect((await register({ email })).body.email).toBe(email)
  })

  test.each([
    ['the same', 'taken@example.org', 'taken@example.org'],
    ['in another case', 'case@example.org', 'CaSe@EXAMPLE.org'],
    ['decomposed', 'jos\u00e9@example.org', 'jose\u0301@example.org'],
    ['decomposed and in another case', 'zo\u00eb@example.org', 'ZOE\u0308@Example.org'],
    ['in upper case with a letter that is composed in lower case only', '\u01f0@example.org', 'J\u030c@example.org'],
  ])('an address that is taken is 409: %s', async (_name, first, second) => {
    expect((await register({ email: first })).status).toBe(201)
    expectProblem(await register({ email: second }), 409, 'email-taken')
  })

  test('one of many registrations of an address at once wins', async () => {
    const email = newEmail()
    const replies = await Promise.all(Array.from({ length: 6 }, () => register({ email })))
    expect(replies.map(reply => reply.status).sort()).toEqual([201, 409, 409, 409, 409, 409])
  })

  test.each([
    ['nothing', ''],
    ['7 letters', 'zq4!kf0'],
    ['7 emoji, which are 14 UTF-16 units', '🦊'.repeat(7)],
    ['8 code points that compose to 7', 'e\u0301zq4!kf'],
    ['the second commonest', 'password'],
    ['a common one in upper case', 'SUNSHINE'],
    ['a common one in mixed case', 'QwertyUiop'],
    ['digits only', '12345678'],
  ])('a weak password is 400: %s', async (_name, password) => {
    const email = newEmail()
    expectProblem(await register({ email, password }), 400, 'weak-password')
    expect(await user.db.sql('select 1 from users where email = $1', [email])).toEqual([])
  })

  test.each([
    ['8 uncommon letters', 'zq4!kf0w'],
    ['8 emoji', '🦊'.repeat(8)],
    ['8 blanks', ' '.repeat(8)],
    ['a common one and a letter more', 'sunshinez'],
    ['256 code points', `${'x'.repeat(255)}🦊`],
    ['256 emoji', '🦊'.repeat(256)],
    ['256 letters, decomposed', 'e\u0301'.repeat(256)],
  ])('takes a password: %s', async (_name, password) => {
    const email = newEmail()
    expect((await register({ email, password })).status).toBe(201)
    expect((await user.logIn(email, password)).status).toBe(201)
  })

  test.each([
    ['257 letters', 'x'.repeat(257)],
    ['257 emoji', '🦊'.repeat(257)],
    ['5,000 letters', 'x'.repeat(5_000)],
  ])('refuses a password over 256 code points: %s', async (_name, password) => {
    const reply = await register({ password })
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([{ field: 'body.password', message: 'is longer than 256 characters' }])
  })

  test.each([
    ['composed, then decomposed', 'caf\u00e9 cr\u00e8me br\u00fbl\u00e9e', 'cafe\u0301 cre\u0300me bru\u0302le\u0301e'],
    ['decomposed, then composed', 'cafe\u0301 au lait', 'caf\u00e9 au lait'],
    ['200 letters, decomposed', '\u00e9'.repeat(200), 'e\u0301'.repeat(200)],
  ])('a password is the same in every Unicode composition: %s', async (_name, registered, typed) => {
    const email = newEmail()
    await register({ email, password: registered })
    expect((await user.logIn(email, typed)).status).toBe(201)
  })

  test('no part of a password is cut off', async () => {
    const email = newEmail()
    const start = 'abcdefghij'.repeat(20)
    await register({ email, password: `${start}x` })
    expectProblem(await user.logIn(email, `${start}y`), 401, 'bad-credentials')
    expectProblem(await user.logIn(email, start), 401, 'bad-credentials')
    expect((await user.logIn(email, `${start}x`)).status).toBe(201)
  })

  test('case and surrounding blanks of a password count', async () => {
    const email = newEmail()
    await register({ email, password: 'Zq4!kf0w ' })
    expectProblem(await user.logIn(email, 'zq4!kf0w '), 401, 'bad-credentials')
    expectProblem(await user.logIn(email, 'Zq4!kf0w'), 401, 'bad-credentials')
  })

  test.each([
    ['no at sign', 'example.org'],
    ['two at signs', 'a@b@example.org'],
    ['no local part', '@example.org'],
    ['no dot in the domain', 'ada@localhost'],
    ['an empty label', 'ada@example..org'],
    ['a blank', 'ada lovelace@example.org'],
    ['a line break', 'ada@example.org\nx'],
    ['a control character', 'ada\u0007@example.org'],
    ['angle brackets', '<ada>@example.org'],
    ['65 letters before the at sign', `${'a'.repeat(65)}@example.org`],
    ['over 254 characters', `ada@${`${'b'.repeat(60)}.`.repeat(5)}org`],
    ['nothing', ''],
  ])('refuses an e-mail address with %s', async (_name, email) => {
    const reply = await register({ email })
    expectProblem(reply, 400, 'invalid-request')
    expect(invalidFields(reply)).toContain('body.email')
  })

  test.each([
    ['100 emoji', '🦊'.repeat(100)],
    ['an apostrophe and an accent', "Renée O'Neill"],
    ['SQL', "'; drop table users; --"],
  ])('takes a name: %s', async (_name, name) => {
    const reply = await register({ name })
    expect({ status: reply.status, name: reply.body.name }).toEqual({ status: 201, name })
  })

  test.each([
    ['blank', ' \u00a0'],
    ['empty', ''],
    ['over 100 characters', 'a'.repeat(101)],
    ['with a tab', 'Ada\tL'],
  ])('refuses a name that is %s', async (_name, name) => {
    const reply = await register({ name })
    expectProblem(reply, 400, 'invalid-request')
    expect(invalidFields(reply)).toEqual(['body.name'])
  })

  test('names every wrong and every unknown field at once', async () => {
    const reply = await user.http('POST', '/users', { json: { email: 'ada', creditLimit: 1, isAdmin: true } })
    expectProblem(reply, 400, 'invalid-request')
    expect(invalidFields(reply).sort()).toEqual(['body.creditLimit', 'body.email', 'body.isAdmin', 'body.name', 'body.password'])
  })
})

describe('GET /users/me', () => {
  test('is the user of the token', async () => {
    const { id, email, token } = await user.newUser()
    const reply = await user.http('GET', '/users/me', { token })
    expect({ status: reply.status, type: reply.type }).toEqual({ status: 200, type: JSON_TYPE })
    expect(reply.body).toEqual({ id, email, name: 'Ada', createdAt: expect.any(String) })
  })

  test('takes the word Bearer in any case (RFC 9110 section 11.1)', async () => {
    const { token } = await user.newUser()
    expect((await user.http('GET', '/users/me', { headers: { authorization: `bearer ${token}` } })).status).toBe(200)
  })

  test('without a token is 401 with a challenge that names no error (RFC 6750 section 3.1)', async () => {
    const reply = await user.http('GET', '/users/me')
    expectProblem(reply, 401, 'unauthorized')
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead"')
  })
})

describe('PATCH /users/me', () => {
  test('changes the name and nothing else', async () => {
    const { id, email, token } = await user.newUser()
    const other = await user.newUser()
    const reply = await user.http('PATCH', '/users/me', { token, json: { name: 'Ada Lovelace' } })
    expect({ status: reply.status, type: reply.type }).toEqual({ status: 200, type: JSON_TYPE })
    expect(reply.body).toMatchObject({ id, email, name: 'Ada Lovelace' })
    expect((await user.http('GET', '/users/me', { token })).body).toEqual(reply.body)
    expect((await user.http('GET', '/users/me', { token: other.token })).body.name).toBe('Ada')
  })

  test.each(['id', 'email', 'password', 'createdAt'])('refuses to change %s', async field => {
    const { token } = await user.newUser()
    const reply = await user.http('PATCH', '/users/me', { token, json: { name: 'Ada', [field]: 'ada@example.org' } })
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([{ field: `body.${field}`, message: 'is not a known field' }])
  })

  test('without a token is 401', async () => {
    expectProblem(await user.http('PATCH', '/users/me', { json: { name: 'Eve' } }), 401, 'unauthorized')
  })
})

test('no log line and no span has a secret of these requests', () => expectNoSecrets(user))
