import Koa from 'koa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { httpConvention } from '../../../services/chassis/server/convention.ts'
import { matchRoute } from '../../../services/chassis/server/router.ts'
import { traceContext } from '../../../services/chassis/server/trace.ts'
import { formatTraceparent, parseTraceparent, parseTracestate } from '../../../services/chassis/telemetry/trace-context.ts'
import { traceHeaders } from '../../../services/chassis/telemetry/tracing.ts'
import { type Listening, listen } from '../../support/http.ts'
import { rawRequest } from '../../support/raw-http.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const FUTURE = '-what-comes-after'

/** Headers that continue the trace, with the flags `sampled` and `random` that they mean. */
const CONTINUED: [string, string, boolean, boolean][] = [
  ['version 00, sampled', `00-${TRACE}-${SPAN}-01`, true, false],
  ['version 00, not sampled', `00-${TRACE}-${SPAN}-00`, false, false],
  ['the random flag alone', `00-${TRACE}-${SPAN}-02`, false, true],
  ['both flags', `00-${TRACE}-${SPAN}-03`, true, true],
  ['unknown flags beside sampled', `00-${TRACE}-${SPAN}-fd`, true, false],
  ['unknown flags alone', `00-${TRACE}-${SPAN}-fc`, false, false],
  ['all flags', `00-${TRACE}-${SPAN}-ff`, true, true],
  ['a later version', `cc-${TRACE}-${SPAN}-01`, true, false],
  ['a later version with more fields', `cc-${TRACE}-${SPAN}-01${FUTURE}`, true, false],
  ['a later version with an empty further field', `01-${TRACE}-${SPAN}-01-`, true, false],
  ['the last version but one', `fe-${TRACE}-${SPAN}-01`, true, false],
  ['a space in front', ` 00-${TRACE}-${SPAN}-01`, true, false],
  ['a tab in front', `\t00-${TRACE}-${SPAN}-01`, true, false],
  ['a space behind', `00-${TRACE}-${SPAN}-01 `, true, false],
  ['a tab behind', `00-${TRACE}-${SPAN}-01\t`, true, false],
  ['spaces and tabs around', ` \t00-${TRACE}-${SPAN}-01\t `, true, false],
  ['a trace id of zeros but for its end', `00-${'0'.repeat(31)}1-${SPAN}-01`, true, false],
]

/** Headers that mean no parent. */
const BROKEN: [string, string][] = [
  ['nothing', ''],
  ['version 00 with a character more', `00-${TRACE}-${SPAN}-01.`],
  ['version 00 with more fields', `00-${TRACE}-${SPAN}-01${FUTURE}`],
  ['version 00 with a dash more', `00-${TRACE}-${SPAN}-01-`],
  ['version ff', `ff-${TRACE}-${SPAN}-01`],
  ['a later version with more characters and no dash', `cc-${TRACE}-${SPAN}-01.what-comes-after`],
  ['a later version cut short', `cc-${TRACE}-${SPAN}-0`],
  ['an illegal first character in the version', `.0-${TRACE}-${SPAN}-01`],
  ['an illegal second character in the version', `0.-${TRACE}-${SPAN}-01`],
  ['an upper-case version', `CC-${TRACE}-${SPAN}-01`],
  ['a version of three digits', `000-${TRACE}-${SPAN}-01`],
  ['a version of four digits', `0000-${TRACE}-${SPAN}-01`],
  ['a version of one digit', `0-${TRACE}-${SPAN}-01`],
  ['no version', `${TRACE}-${SPAN}-01`],
  ['a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
  ['a trace id of zeros in a later version', `cc-${'0'.repeat(32)}-${SPAN}-01`],
  ['an illegal first character in the trace id', `00-.${TRACE.slice(1)}-${SPAN}-01`],
  ['an illegal last character in the trace id', `00-${TRACE.slice(1)}.-${SPAN}-01`],
  ['an upper-case trace id', `00-${TRACE.toUpperCase()}-${SPAN}-01`],
  ['a trace id too long', `00-${TRACE}0-${SPAN}-01`],
  ['a trace id too short', `00-${TRACE.slice(1)}-${SPAN}-01`],
  ['a parent id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
  ['an illegal first character in the parent id', `00-${TRACE}-.${SPAN.slice(1)}-01`],
  ['an illegal last character in the parent id', `00-${TRACE}-${SPAN.slice(1)}.-01`],
  ['an upper-case parent id', `00-${TRACE}-${SPAN.toUpperCase()}-01`],
  ['a parent id too long', `00-${TRACE}-${SPAN}0-01`],
  ['a parent id too short', `00-${TRACE}-${SPAN.slice(1)}-01`],
  ['an illegal first character in the flags', `00-${TRACE}-${SPAN}-.0`],
  ['an illegal last character in the flags', `00-${TRACE}-${SPAN}-0.`],
  ['upper-case flags', `00-${TRACE}-${SPAN}-0A`],
  ['flags too long', `00-${TRACE}-${SPAN}-001`],
  ['flags too short', `00-${TRACE}-${SPAN}-1`],
  ['no flags', `00-${TRACE}-${SPAN}`],
  ['a space inside', `00-${TRACE} -${SPAN}-01`],
  ['underscores for dashes', `00_${TRACE}_${SPAN}_01`],
  ['two values', `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`],
]

describe('parseTraceparent', () => {
  test.each(CONTINUED)('takes %s', (_name, header, sampled, random) => {
    expect(parseTraceparent(header)).toMatchObject({ traceId: header.trim().slice(3, 35), spanId: SPAN, sampled, random })
  })

  test.each(BROKEN)('takes no parent from %s', (_name, header) => {
    expect(parseTraceparent(header)).toBeUndefined()
  })

  test('takes no parent from no header or from several', () => {
    expect(parseTraceparent(undefined)).toBeUndefined()
    expect(parseTraceparent([`00-${TRACE}-${SPAN}-01`])).toBeUndefined()
  })
})

describe('formatTraceparent', () => {
  test.each([
    [false, false, '00'],
    [true, false, '01'],
    [false, true, '02'],
    [true, true, '03'],
  ])('sampled %s and random %s are %s', (sampled, random, flags) => {
    expect(formatTraceparent({ traceId: TRACE, spanId: SPAN, sampled, random })).toBe(`00-${TRACE}-${SPAN}-${flags}`)
  })

  test('writes version 00 without the fields and flags of a later one', () => {
    const parent = parseTraceparent(`cc-${TRACE}-${SPAN}-ff${FUTURE}`)
    expect(parent && formatTraceparent(parent)).toBe(`00-${TRACE}-${SPAN}-03`)
  })
})

const members = (count: number) => Array.from({ length: count }, (_, i) => `k${i}=${i}`).join(',')
const KEY_CHARACTERS = 'abcdefghijklmnopqrstuvwxyz0123456789_-*/@'
const VALUE_CHARACTERS = Array.from({ length: 0x7f - 0x20 }, (_, i) => String.fromCharCode(0x20 + i))
  .filter(character => !',='.includes(character))
  .join('')

/** Lists that are sent on, as they are or as the third column says. */
const KEPT: [string, string, string?][] = [
  ['one member', 'a=1'],
  ['members in their order', 'z=1,a=2,m=3'],
  ['a space after the comma', 'a=1, b=2', 'a=1,b=2'],
  ['spaces and tabs around the commas', 'a=1 \t , \t b=2,\t \tc=3', 'a=1,b=2,c=3'],
  ['spaces and tabs around the list', '\t a=1 \t', 'a=1'],
  ['an empty member in front', ',a=1', 'a=1'],
  ['an empty member in between', 'a=1,,b=2', 'a=1,b=2'],
  ['a blank member in between', 'a=1, \t ,b=2', 'a=1,b=2'],
  ['an empty member at the end', 'a=1,', 'a=1'],
  ['the same member twice', 'a=1,a=1'],
  ['a key twice with two values', 'a=1,a=2'],
  ['32 members', members(32)],
  ['512 characters', `a=${'x'.repeat(255)},b=${'x'.repeat(252)}`],
  ['32 members and empty ones', `,${members(32)},,`, members(32)],
  ['a key of one character', 'a=1'],
  ['a key of 256 characters', `${'z'.repeat(256)}=1`],
  ['a key that begins with a digit', '0a=1'],
  ['a key of digits', '123=1'],
  ['every character that a key may have', `${KEY_CHARACTERS}=1`],
  ['a tenant of 241 and a system of 14', `${'t'.repeat(241)}@${'v'.repeat(14)}=1`],
  ['a tenant of 242, which level 2 no longer limits', `${'t'.repeat(242)}@v=1`],
  ['a system of 15, which level 2 no longer limits', `t@${'v'.repeat(15)}=1`],
  ['a tenant that begins with a digit', '0t@v=1'],
  ['a system that begins with a digit', 't@0v=1'],
  ['a key that ends with an at sign', 'foo@=1,bar=2'],
  ['two at signs in a row', 'foo@@bar=1,bar=2'],
  ['two at signs', 'foo@bar@baz=1,bar=2'],
  ['a value of 256 characters', `a=${'v'.repeat(256)}`],
  ['every character that a value may have', `a=${VALUE_CHARACTERS}`],
  ['a value that begins with a space', 'a= 1'],
  ['a value with a space inside', 'a=1 2'],
]

/** Lists that are dropped. */
const DROPPED: [string, string][] = [
  ['an empty list', ''],
  ['a blank list', ' \t '],
  ['empty members alone', ',,'],
  ['33 members', members(33)],
  ['a member without =', 'a'],
  ['one member without = among others', 'a=1,b,c=3'],
  ['a member without a key', '=1'],
  ['a member without a value', 'a=,b=2'],
  ['a value of spaces', 'a=  ,b=2'],
  ['a key of 257 characters', `a=1,${'z'.repeat(257)}=1`],
  ['a tenant and a system of 257 characters together', `${'t'.repeat(242)}@${'v'.repeat(14)}=1`],
  ['an upper-case key', 'FOO=1'],
  ['a space before =', 'foo =1'],
  ['a dot in a key', 'foo.bar=1'],
  ['a key that begins with an underscore', '_a=1'],
  ['a key that begins with a dash', '-a=1'],
  ['a key that begins with a star', '*a=1'],
  ['a key that begins with a slash', '/a=1'],
  ['a key that begins with an at sign', '@foo=1,bar=2'],
  ['a character beyond ASCII in a key', 'fo\u00f6=1'],
  ['a value of 257 characters', `a=${'v'.repeat(257)}`],
  ['= in a value', 'foo=bar=baz'],
  ['a tab inside a value', 'a=1\t2'],
  ['a control character in a value', 'a=1\u00012'],
  ['DEL in a value', 'a=1\u007f'],
  ['a character beyond ASCII in a value', 'a=\u00e9'],
  ['a no-break space around a member', '\u00a0a=1'],
]

describe('parseTracestate', () => {
  test.each(KEPT)('keeps %s', (_name, header, sent = header) => {
    expect(parseTracestate(header)).toBe(sent)
  })

  test.each(DROPPED)('drops %s', (_name, header) => {
    expect(parseTracestate(header)).toBeUndefined()
  })

  test('joins several headers in their order', () => {
    expect(parseTracestate(['a=1,b=2', '', 'c=3'])).toBe('a=1,b=2,c=3')
    expect(parseTracestate([members(20), 'a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8,i=9,j=10,l=11,m=12'])?.split(',')).toHaveLength(32)
    expect(parseTracestate([members(20), 'a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8,i=9,j=10,l=11,m=12,n=13'])).toBeUndefined()
  })

  test('there is none without a header', () => {
    expect(parseTracestate(undefined)).toBeUndefined()
  })

  test('the time for spaces grows with their number, not with its square', () => {
    const startedAt = performance.now()
    expect(parseTracestate(`a=1${' '.repeat(2_000_000)}b`)).toBeUndefined()
    // Milliseconds; with the square of the length it would be half an hour.
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  })
})

describe('traceContext()', () => {
  let runtime: TestRuntime
  let listening: Listening

  beforeAll(async () => {
    runtime = testRuntime()
    const contract = defineContract({
      get: { method: 'GET', path: '/', summary: 'Get', auth: 'workload', responses: { 200: { description: 'It' } } },
    })
    const app = new Koa()
    app.use(matchRoute(contract))
    app.use(traceContext(runtime.tracer, runtime.log, httpConvention(runtime.metrics)))
    app.use(ctx => {
      ctx.body = traceHeaders(ctx.state.scope.span)
    })
    listening = await listen(app)
  })
  afterAll(() => listening?.close())

  /** What a service that gets these header lines sends on, taken apart. */
  const sentOn = async (...lines: string[]) => {
    const { status, body } = await rawRequest(listening.port, 'GET /', lines)
    expect(status).toBe(200)
    const [, version, traceId, spanId, flags] = /^(..)-([0-9a-f]{32})-([0-9a-f]{16})-(..)$/.exec(body.traceparent) ?? []
    expect(version).toBe('00')
    return { traceId, spanId, flags, tracestate: body.tracestate as string | undefined }
  }

  test.each(CONTINUED)('continues the trace after %s', async (_name, header, sampled, random) => {
    const sent = await sentOn(`traceparent: ${header}`, 'tracestate: a=1')
    expect(sent).toMatchObject({ traceId: header.trim().slice(3, 35), flags: `0${Number(sampled) + 2 * Number(random)}`, tracestate: 'a=1' })
    expect(sent.spanId).not.toBe(SPAN)
  })

  test.each(BROKEN)('starts a trace without tracestate after %s', async (_name, header) => {
    const sent = await sentOn(`traceparent: ${header}`, 'tracestate: a=1')
    expect(sent.traceId).not.toBe(TRACE)
    expect(sent).toMatchObject({ flags: '03', tracestate: undefined })
    expect(sent.traceId).not.toBe('0'.repeat(32))
  })

  test('starts a trace after two traceparent headers', async () => {
    const other = TRACE.replace('4', '5')
    const sent = await sentOn(`traceparent: 00-${TRACE}-${SPAN}-01`, `traceparent: 00-${other}-${SPAN}-01`, 'tracestate: a=1')
    expect([TRACE, other]).not.toContain(sent.traceId)
    expect(sent.tracestate).toBeUndefined()
  })

  test('starts a trace without tracestate when there is no traceparent', async () => {
    expect(await sentOn('tracestate: a=1')).toMatchObject({ flags: '03', tracestate: undefined })
  })

  test.each(['trace-parent', 'trace.parent', 'trace_parent'])('does not take %s for traceparent', async name => {
    expect((await sentOn(`${name}: 00-${TRACE}-${SPAN}-01`)).traceId).not.toBe(TRACE)
  })

  test.each(['TraceParent', 'TRACEPARENT', 'TrAcEpArEnT'])('reads traceparent written as %s', async name => {
    expect((await sentOn(`${name}: 00-${TRACE}-${SPAN}-01`)).traceId).toBe(TRACE)
  })

  test.each(['TraceState', 'TRACESTATE'])('reads tracestate written as %s', async name => {
    expect((await sentOn(`traceparent: 00-${TRACE}-${SPAN}-01`, `${name}: a=1`)).tracestate).toBe('a=1')
  })

  test.each(KEPT)('sends on %s', async (_name, header, sent = header) => {
    expect(await sentOn(`traceparent: 00-${TRACE}-${SPAN}-00`, `tracestate: ${header}`)).toMatchObject({ traceId: TRACE, tracestate: sent })
  })

  // Node refuses a request whose headers hold control characters.
  test.each(DROPPED.filter(([, header]) => !/[\u0001\u007f]/.test(header)))('drops %s and still continues the trace', async (_name, header) => {
    expect(await sentOn(`traceparent: 00-${TRACE}-${SPAN}-00`, `tracestate: ${header}`)).toMatchObject({ traceId: TRACE, tracestate: undefined })
  })

  test('joins several tracestate headers in their order', async () => {
    const sent = await sentOn(`traceparent: 00-${TRACE}-${SPAN}-00`, 'tracestate: a=1,b=2', 'tracestate:', 'tracestate: c=3')
    expect(sent.tracestate).toBe('a=1,b=2,c=3')
  })

  test('gives each request a span of its own', async () => {
    const traces = await Promise.all([1, 2, 3].map(() => sentOn(`traceparent: 00-${TRACE}-${SPAN}-01`)))
    expect(new Set(traces.map(sent => sent.spanId)).size).toBe(3)
    const fresh = await Promise.all([1, 2, 3].map(() => sentOn()))
    expect(new Set(fresh.map(sent => sent.traceId)).size).toBe(3)
  })
})
