import { type FreshKind, fill, type Journey, type JourneyStep, type Source, sourceOf } from '@fairlead/chassis'
import { USER_TOKEN } from './obstacle.ts'

export interface CurlOptions {
  /** Where a service is reached, e.g. `http://127.0.0.1:8080`. */
  origin: (service: string) => string
  /** @default 'curl' */
  curl?: string
  /** The access token of a user of a foreign issuer, as bash takes it. @default the environment's */
  userToken?: (name: string) => string
}

/** In bash, for a value that each run has of its own. They hold nothing that bash would split or expand. */
const FRESH: Record<FreshKind, { name: string; bash: string }> = {
  id: { name: 'NEW_ID', bash: '$(new_id)' },
  email: { name: 'EMAIL', bash: 'ada-$RANDOM$RANDOM@example.org' },
  password: { name: 'PASSWORD', bash: '$RANDOM-$RANDOM-$RANDOM-$RANDOM-$RANDOM' },
  text: { name: 'TEXT', bash: '$RANDOM$RANDOM$RANDOM' },
}

const tokenOfEnvironment = (name: string) => `"\${${USER_TOKEN}:?is to be the access token of ${name}}"`

/** A UUIDv7 (RFC 9562 section 5.7). */
const NEW_ID = `new_id() { local ms=$(($(date +%s) * 1000)); printf '%08x-%04x-7%03x-8%03x-%04x%04x%04x' $((ms >> 16)) $((ms & 65535)) $((RANDOM & 4095)) $((RANDOM & 4095)) $RANDOM $RANDOM $RANDOM; }`

/** A member of the last answer, wherever it is: Node.js is there, for the rest of the command needs it as well. */
const MEMBER = `member() { node -p "const value = JSON.parse(fs.readFileSync(0))$1; typeof value === 'string' ? value : JSON.stringify(value)" <<< "$ANSWER"; }`

/** A journey as lines of bash, a call each, that work as they stand. */
export function curlLines({ steps }: Journey, { origin, curl = 'curl', userToken = tokenOfEnvironment }: CurlOptions): string {
  const variables = nameVariables(steps)
  const lines = steps.flatMap((step, index) => {
    const assigned = variables.filter(({ source, firstStep }) => source.from !== 'answer' && firstStep === index)
    const captured = variables.filter(({ source }) => source.from === 'answer' && source.step === index)
    const before = assigned.map(({ name, source }) => `${name}=${source.from === 'user' ? userToken(source.name) : freshText(source)}`)
    return [...before, `# ${titleOf(step)}`, callLine(step, curl + options(step, origin, shellText(variables)), captured)]
  })
  const helpers = [NEW_ID, MEMBER].filter(helper => lines.some(line => line.includes(`$(${helper.split('(')[0]}`)))
  return [...helpers, ...lines, ''].join('\n')
}

interface Variable {
  source: Source
  name: string
  firstStep: number
}

const keyOf = (source: Source) => JSON.stringify(source)

/** A variable for every value that comes later but fresh ones that are used once, which are written where they are used. */
function nameVariables(steps: readonly JourneyStep[]): Variable[] {
  const uses = new Map<string, { source: Source; count: number; firstStep: number; isToken: boolean }>()
  for (const [firstStep, { as, params, query, body, headers }] of steps.entries()) {
    fill({ as, params, query, body, headers }, (source, [part]) => {
      const use = uses.get(keyOf(source)) ?? { source, count: 0, firstStep, isToken: false }
      uses.set(keyOf(source), { ...use, count: use.count + 1, isToken: use.isToken || part === 'as' })
    })
  }
  const taken = new Set<string>()
  return [...uses.values()].flatMap(({ source, count, firstStep, isToken }) => {
    if (source.from === 'fresh' && count === 1) return []
    const wanted = isToken ? 'TOKEN' : variableName(source, steps)
    let name = wanted
    for (let n = 2; taken.has(name); n++) name = `${wanted}_${n}`
    taken.add(name)
    return [{ source, name, firstStep }]
  })
}

/** With the service's name before it, so that it is none that bash or a program has a meaning for, such as PATH. */
function variableName(source: Source, steps: readonly JourneyStep[]): string {
  if (source.from === 'fresh') return FRESH[source.kind].name
  if (source.from === 'user') return 'TOKEN'
  const member = source.path.findLast(key => !/^\d+$/.test(key)) ?? 'answer'
  return `${steps[source.step]?.service.name}_${member.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_')}`.toUpperCase().replace(/[^A-Z0-9_]/g, '_')
}

const freshText = (source: Source) => (source.from === 'fresh' ? FRESH[source.kind].bash : '')

/** Writes a value that comes later: its variable, or what makes it. */
const shellText =
  (variables: readonly Variable[]) =>
  (source: Source): string => {
    const variable = variables.find(({ source: other }) => keyOf(other) === keyOf(source))
    return variable ? `$${variable.name}` : freshText(source)
  }

const titleOf = ({ operation: { summary }, until }: JourneyStep) =>
  `${summary.split(/[;\n]/)[0]}${until ? `; again until ${String(until).replace(/\s+/g, ' ')}` : ''}`

function callLine({ operation }: JourneyStep, call: string, captured: readonly Variable[]): string {
  if (captured.length > 0) {
    const members = captured.map(({ name, source }) => `${name}=$(member ${source.from === 'answer' ? quote(expression(source.path)) : ''})`)
    return `ANSWER=$(${call.replace(OUTPUT, '-sS')}); echo "$ANSWER"; ${members.join('; ')}`
  }
  const hasBody = Object.entries(operation.responses).some(([status, { body }]) => status.startsWith('2') && body)
  return hasBody ? call : call.replace(OUTPUT, `-sSw '%{http_code}\\n'`)
}

const OUTPUT = `-sSw '\\n'`

const expression = (path: readonly string[]) =>
  path.map(key => (/^\d+$/.test(key) ? `[${key}]` : /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`)).join('')

const quote = (text: string) => (/^[\w./:@,=%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)

function options(
  { service, operation, as, params, query, body, headers }: JourneyStep,
  origin: CurlOptions['origin'],
  shell: (source: Source) => string,
) {
  const sent: Record<string, unknown> = { ...(as !== undefined && { authorization: as }), ...headers }
  return [
    '',
    OUTPUT,
    ...(operation.method === 'GET' || (operation.method === 'POST' && body !== undefined) ? [] : [`-X ${operation.method}`]),
    urlOf(origin(service.name) + operation.path, params, query, shell),
    ...Object.entries(sent).map(([name, value]) => {
      const source = sourceOf(value)
      return `-H ${source ? `"${name}: ${name === 'authorization' ? 'Bearer ' : ''}${shell(source)}"` : quote(`${name}: ${value}`)}`
    }),
    ...(body === undefined ? [] : [`-H 'content-type: application/json' -d '${jsonOf(body, shell)}'`]),
  ].join(' ')
}

function urlOf(template: string, params: unknown, query: unknown, shell: (source: Source) => string): string {
  const text = (value: unknown) => {
    const source = sourceOf(value)
    return source ? shell(source) : encodeURIComponent(String(value)).replace(/[!'()*]/g, found => `%${found.charCodeAt(0).toString(16)}`)
  }
  const path = template.replace(/\{(\w+)\}/g, (_, name) => text((params as Record<string, unknown>)[name]))
  const pairs = Object.entries((query ?? {}) as object).map(([name, value]) => `${encodeURIComponent(name)}=${text(value)}`)
  const url = pairs.length > 0 ? `${path}?${pairs.join('&')}` : path
  return /^[\w./:$()%-]+$/.test(url) ? url : `"${url}"`
}

/** JSON between single quotes of bash, which are left for each value that comes later. */
function jsonOf(value: unknown, shell: (source: Source) => string): string {
  const source = sourceOf(value)
  if (source) {
    const written = source.from === 'answer' || source.from === 'user' ? `'"${shell(source)}"'` : `'${shell(source)}'`
    return source.from === 'answer' && !source.isText ? written : `"${written}"`
  }
  if (Array.isArray(value)) return `[${value.map(element => jsonOf(element, shell)).join(',')}]`
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([key, member]) => `${inQuotes(JSON.stringify(key))}:${jsonOf(member, shell)}`)
      .join(',')}}`
  return inQuotes(JSON.stringify(value))
}

const inQuotes = (text: string) => text.replaceAll("'", `'\\''`)
