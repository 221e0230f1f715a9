import { Writable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { createLog, flushLog } from '../../../services/chassis/telemetry/log.ts'

const SECRETS = [
  'password',
  'oldPassword',
  'newPassword',
  'passwordHash',
  'email',
  'authorization',
  'cookie',
  'accessToken',
  'refreshToken',
  'token',
  'secret',
  'databaseUrl',
]

function logInMemory(level?: string) {
  const lines: string[] = []
  const log = createLog({ service: 'tiny', ...(level && { level }), destination: { write: line => void lines.push(line) } })
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') }
}

describe('createLog', () => {
  test('writes one JSON line with the level as a word, the time in RFC 3339 and the service', () => {
    const { log, lines, last } = logInMemory()
    log.warn({ n: 7 }, 'hello\nworld')
    expect(lines[0]).toMatch(/^[^\n]+\n$/)
    const { time, ...rest } = last()
    expect(rest).toEqual({ level: 'warn', service: 'tiny', n: 7, msg: 'hello\nworld' })
    expect(new Date(time).toISOString()).toBe(time)
  })

  test.each([
    [undefined, ['info', 'error']],
    ['debug', ['debug', 'info', 'error']],
    ['error', ['error']],
  ])('at level %s writes %s', (level, written) => {
    const { log, lines } = logInMemory(level)
    log.debug('a')
    log.info('b')
    log.error('c')
    expect(lines.map(line => JSON.parse(line).level)).toEqual(written)
  })

  test.each(SECRETS)('hides %s at the top and one level down', name => {
    const { log, lines, last } = logInMemory()
    const line = { [name]: 'hunter2', request: { [name]: 'hunter2', id: 7 } }
    log.info(line)
    expect(lines.join()).not.toContain('hunter2')
    expect(last()).toMatchObject({ [name]: '[redacted]', request: { [name]: '[redacted]', id: 7 } })
    expect(line).toEqual({ [name]: 'hunter2', request: { [name]: 'hunter2', id: 7 } })
  })

  test.each(SECRETS)('hides %s whatever its type, and with a message', name => {
    const { log, lines } = logInMemory()
    for (const value of [{ inner: 'hunter2' }, ['hunter2']]) log.info({ [name]: value, deeper: { [name]: value } }, 'seen')
    expect(lines.join()).not.toContain('hunter2')
  })

  test('hides what a child log is bound to', () => {
    const { log, lines } = logInMemory()
    log.child({ trace_id: '1', token: 'hunter2', request: { token: 'hunter2' } }).info('hello')
    expect(lines.join()).toContain('"trace_id":"1"')
    expect(lines.join()).not.toContain('hunter2')
  })

  test('writes an error with name, code, message, stack and its chain of causes', () => {
    const { log, last } = logInMemory()
    const root = Object.assign(new TypeError('root'), { code: 'ECONNREFUSED' })
    log.error({ err: new Error('top', { cause: new Error('middle', { cause: root }) }) }, 'failed')
    expect(last().err).toEqual({
      name: 'Error',
      message: 'top',
      stack: expect.stringContaining('log.test.ts'),
      cause: {
        name: 'Error',
        message: 'middle',
        stack: expect.any(String),
        cause: { name: 'TypeError', code: 'ECONNREFUSED', message: 'root', stack: expect.any(String) },
      },
    })
  })

  test('drops what Postgres quotes of values', () => {
    const { log, lines, last } = logInMemory()
    const error = Object.assign(new Error('duplicate key value violates unique constraint "users_email_key"'), {
      code: '23505',
      detail: 'Key (email)=(ada@example.org) already exists.',
      where: 'COPY users, line 1: "ada@example.org"',
      hint: 'ada@example.org',
      query: "select 'ada@example.org'",
    })
    log.error({ err: new Error('register failed', { cause: error }) })
    log.error({ err: error })
    expect(lines.join()).not.toContain('ada@example.org')
    expect(last().err).toMatchObject({ code: '23505', message: error.message })
  })

  test.each([
    ['text', { message: 'text' }],
    [7, { message: '7' }],
    [undefined, undefined],
  ])('writes %o thrown', (err, expected) => {
    const { log, last } = logInMemory()
    log.error({ err })
    expect(last().err).toEqual(expected)
  })

  test('writes an error that is its own cause', () => {
    const { log, last } = logInMemory()
    const error = new Error('circle')
    error.cause = error
    log.error({ err: error })
    expect(last().err).toMatchObject({ message: 'circle', cause: { message: 'circle' } })
  })
})

describe('flushLog', () => {
  test('ends although the destination cannot be flushed', async () => {
    await expect(
      flushLog(createLog({ service: 'a', destination: new Writable({ write: (_chunk, _encoding, done) => done() }) })),
    ).resolves.toBeUndefined()
  })
})
