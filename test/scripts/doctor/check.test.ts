import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { type Check, Fault, NotHere, type Result, runChecks } from '../../../scripts/doctor/check.ts'
import { toRun } from '../../../scripts/remedy.ts'
import { CommandError } from '../../../scripts/terminal.ts'

const STATUS = toRun('npx fairlead status')

const check = (name: string, run: Check['run']): Check => ({ name, run })
const forever = () => new Promise<never>(() => {})

/** Runs checks and notes what is shown. */
function running(
  checks: readonly Check[],
  { signal = new AbortController().signal, timeoutMs, tidyMs = 20 }: { signal?: AbortSignal; timeoutMs?: number; tidyMs?: number } = {},
) {
  const shown: Result[] = []
  const options = {
    signal,
    otherwise: STATUS,
    tidyMs,
    show: (result: Result) => void shown.push(result),
    ...(timeoutMs !== undefined && { timeoutMs }),
  }
  return { shown, results: runChecks(checks, options) }
}

const outcome = async (run: Check['run']): Promise<Result | undefined> => (await running([check('x', run)]).results)[0]

describe('runChecks(checks, { signal, show })', () => {
  test('runs all at once, and keeps the order of the list in what it shows and returns', async () => {
    const last = Promise.withResolvers<void>()
    const { results, shown } = running(
      [
        check('first', () => last.promise.then(() => 'after the last')),
        check('second', async () => 'at once'),
        check('last', async () => {
          last.resolve()
          return 'at once'
        }),
      ],
      { timeoutMs: 5_000 },
    )
    expect((await results).map(({ name, message }) => `${name}: ${message}`)).toEqual(['first: after the last', 'second: at once', 'last: at once'])
    expect(shown).toEqual(await results)
  })

  test('shows a result as soon as it and those before it are known', async () => {
    const firstIsShown = Promise.withResolvers<void>()
    const show = ({ name }: Result) => {
      if (name === 'first') firstIsShown.resolve()
    }
    const checks = [check('first', async () => 'seen'), check('last', () => firstIsShown.promise.then(() => 'seen'))]
    const results = await runChecks(checks, { signal: new AbortController().signal, show, timeoutMs: 5_000 })
    expect(results.map(result => result.outcome)).toEqual(['passed', 'passed'])
  })

  test('says what a check saw, and how long it took', async () => {
    expect(await outcome(async () => '3 ready')).toEqual({ name: 'x', outcome: 'passed', message: '3 ready', ms: expect.any(Number) })
  })

  test.each<[string, Error, Partial<Result>]>([
    [
      'what is wrong',
      new CommandError('the API server does not answer', toRun('kubectl get nodes')),
      { outcome: 'failed', message: 'the API server does not answer', remedy: toRun('kubectl get nodes') },
    ],
    ['any other error', new Error('a surprise'), { outcome: 'failed', message: 'a surprise', remedy: STATUS }],
    ['nothing to look at', new NotHere('no service calls another'), { outcome: 'skipped', message: 'no service calls another' }],
  ])('of %s makes a result', async (_, error, result) => {
    expect(await outcome(() => Promise.reject(error))).toEqual({ name: 'x', ms: expect.any(Number), ...result })
  })

  test('says nothing that would move the cursor of a terminal', async () => {
    expect(await outcome(() => Promise.reject(new CommandError('it logged \u001b[2J\u0007')))).toMatchObject({ message: 'it logged \ufffd[2J\ufffd' })
  })

  test('gives the causes of a fault as fields, and three of them in words', async () => {
    const causes = ['a', 'b', 'c', 'd'].map(name => ({ object: `Service shop/${name}`, difference: 'not there' }))
    expect(await outcome(() => Promise.reject(new Fault('nobody answers', toRun('npx fairlead deploy'), causes)))).toEqual({
      name: 'x',
      outcome: 'failed',
      message: 'nobody answers; the cause: Service shop/a: not there; Service shop/b: not there; Service shop/c: not there; and 1 more',
      causes,
      remedy: toRun('npx fairlead deploy'),
      ms: expect.any(Number),
    })
  })

  test('fails a check that hangs and tells it to stop, and waits for no other because of it', async () => {
    const hanging = Promise.withResolvers<AbortSignal>()
    const { results } = running(
      [
        check('hangs', signal => {
          hanging.resolve(signal)
          return forever()
        }),
        check('quick', async () => 'seen'),
      ],
      { timeoutMs: 20 },
    )
    expect(await results).toMatchObject([
      { name: 'hangs', outcome: 'failed', message: 'no answer in 0.02 s', remedy: STATUS },
      { name: 'quick', outcome: 'passed' },
    ])
    expect((await hanging.promise).aborted).toBe(true)
  })

  test('leaves a process nothing to wait for, after checks that hang and after checks that end', async () => {
    const program = `
      import { runChecks } from './scripts/doctor/check.ts'
      const options = { signal: new AbortController().signal, show: ({ name, outcome }) => console.log(name, outcome) }
      await runChecks([{ name: 'hangs', run: () => new Promise(() => {}) }], { ...options, timeoutMs: 50 })
      await runChecks([{ name: 'listens', run: async signal => signal.addEventListener('abort', () => {}) }], options)`
    const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', program]
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 20_000 })
    expect(stdout).toBe('hangs failed\nlistens passed\n')
  })

  test('rejects at once when it was interrupted before, and begins nothing', async () => {
    const begun: string[] = []
    const hang: Check['run'] = () => {
      begun.push('a')
      return forever()
    }
    const { results } = running([check('a', hang)], { signal: AbortSignal.abort(new Error('Ctrl-C')) })
    await expect(results).rejects.toThrow('Ctrl-C')
    expect(begun).toEqual([])
  })

  test('rejects once its checks have put things in order', async () => {
    const interrupt = new AbortController()
    const removed = Promise.withResolvers<void>()
    const begun: Check['run'] = async signal => {
      await new Promise(resolve => signal.addEventListener('abort', resolve))
      interrupted.resolve()
      await removed.promise
      return order.push('pods are removed').toString()
    }
    const interrupted = Promise.withResolvers<void>()
    const order: string[] = []
    const { results } = running([check('a', begun)], { signal: interrupt.signal, tidyMs: 60_000 })
    const ended = results.catch(() => order.push('ended'))
    interrupt.abort(new Error('Ctrl-C'))
    await interrupted.promise
    removed.resolve()
    await ended
    expect(order).toEqual(['pods are removed', 'ended'])
  })

  test('rejects when it is interrupted, tells every check, and shows nothing more', async () => {
    const interrupt = new AbortController()
    const signals: AbortSignal[] = []
    const hang: Check['run'] = signal => {
      signals.push(signal)
      return forever()
    }
    const { results, shown } = running([check('a', hang), check('b', hang)], { signal: interrupt.signal })
    interrupt.abort(new Error('Ctrl-C'))
    await expect(results).rejects.toThrow('Ctrl-C')
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true])
    expect(shown).toEqual([])
  })
})
