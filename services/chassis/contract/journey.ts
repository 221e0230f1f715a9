import type { z } from 'zod'
import { type Answer, type Contract, fieldProblems, isIdempotent, type Operation, type Outgoing } from './contract.ts'
import { DefinitionError } from './definition-error.ts'
import type { CalleeName, ServiceDefinition } from './graph.ts'
import { newId } from './ids.ts'
import { answerReference, type FreshKind, fill, type Given, plainReference, type Ref, recorded, sourceOf } from './reference.ts'

/** What a client of the system does, once. It is recorded, so that it can be printed, run, and offered as load. */
export interface Journey {
  readonly steps: readonly JourneyStep[]
}

/** One call. Its values hold references, which `fill` replaces. */
export interface JourneyStep {
  readonly service: ServiceDefinition
  /** Its name in the service's contract. */
  readonly name: string
  readonly operation: Operation
  /** Reference to the access token. */
  readonly as?: unknown
  readonly params?: unknown
  readonly query?: unknown
  readonly body?: unknown
  readonly headers: Readonly<Record<string, unknown>>
  /** Whether an answer's body is the one that is waited for; without it the first answer is. */
  readonly until?: (body: never) => boolean
  /** Callees of the service that the trace of this request shows. */
  readonly crosses: readonly string[]
}

/** Operations that are reached from outside the system. */
type PublicName<C extends Contract> = {
  [K in keyof C & string]: C[K] extends { auth: 'workload' } | { internal: true } ? never : K
}[keyof C & string]

type Success = 200 | 201 | 202 | 203 | 206

type Body<O extends Operation> =
  Answer<O> extends infer A ? (A extends { status: infer S; body: infer B } ? (S extends Success ? B : never) : never) : never

type StepInput<S extends ServiceDefinition, O extends Operation> = { [P in keyof Outgoing<O>]: Given<Outgoing<O>[P]> } & (O extends { auth: 'user' }
  ? {
      /** The access token: `user()`, or the member of an answer that has it. */
      as: Ref<string>
    }
  : { as?: never }) & {
    headers?: Readonly<Record<string, Given<string>>>
    /** Asks again until this holds for the answer's body; for operations that may be repeated. */
    until?: (body: Body<O>) => boolean
    /** Callees of the service that this request reaches, as its trace has to show. */
    crosses?: readonly CalleeName<S>[]
  }

/** A reference to the answer's body, where it has one. */
type Reply<O extends Operation> = [Body<O>] extends [never] ? undefined : Ref<Body<O>>

export interface JourneyRecorder {
  /**
   * Records a call of an operation that is reached from outside. An `Idempotency-Key` comes by itself.
   * @throws Error naming what the contract does not allow
   */
  call<const S extends ServiceDefinition, K extends PublicName<S['contract']>>(
    service: S,
    operation: K,
    ...input: Record<never, never> extends NoInfer<StepInput<S, S['contract'][K]>>
      ? [NoInfer<StepInput<S, S['contract'][K]>>?]
      : [NoInfer<StepInput<S, S['contract'][K]>>]
  ): Reply<S['contract'][K]>
  /** Values that each run has of its own. */
  fresh: { [K in FreshKind]: () => Ref<string> }
  /** Access token of a user whom whoever runs the journey knows: of a foreign issuer. @default 'ada' */
  user(name?: string): Ref<string>
}

/**
 * Records what a client of the system does, once.
 * @throws Error naming the step and everything in it that the contract does not allow
 */
export function defineJourney(record: (recorder: JourneyRecorder) => void): Journey {
  const steps: JourneyStep[] = []
  let made = 0
  const freshOf = (kind: FreshKind) => plainReference(`fresh.${kind}()`, { from: 'fresh', kind, number: made++ }) as Ref<string>
  const call = (service: ServiceDefinition, name: string, input: Partial<JourneyStep> = {}) => {
    const title = `step ${steps.length + 1} of the journey (${service.name}.${name})`
    const operation = publicOperation(title, service, name)
    const keyed = operation.idempotencyKey ? { 'idempotency-key': freshOf('text') } : {}
    const step = { ...input, headers: { ...keyed, ...input.headers }, crosses: input.crosses ?? [] }
    const problems = problemsOf(service, operation, step)
    if (problems.length > 0) throw new DefinitionError(`${title}: ${problems.join('; ')}`)
    steps.push({ ...(recorded(step) as typeof step), service, name, operation })
    const bodies = bodiesOf(operation)
    return bodies.length === 0 ? undefined : answerReference(`the answer of step ${steps.length} (${service.name}.${name})`, steps.length - 1, bodies)
  }
  const fresh = { id: () => freshOf('id'), email: () => freshOf('email'), password: () => freshOf('password'), text: () => freshOf('text') }
  const user = (name = 'ada') => plainReference(`user('${name}')`, { from: 'user', name }) as Ref<string>
  const returned: unknown = record({ call, fresh, user } as JourneyRecorder)
  if (returned instanceof Promise) {
    returned.catch(() => {})
    throw new DefinitionError('a journey is recorded, not run: its function is not async, and call() returns at once')
  }
  if (steps.length === 0) throw new DefinitionError('a journey has at least one step')
  return { steps }
}

function publicOperation(title: string, { name, contract }: ServiceDefinition, operationName: string): Operation {
  const isPublic = ({ auth, internal }: Operation) => auth !== 'workload' && !internal
  const operation = Object.hasOwn(contract, operationName) ? contract[operationName] : undefined
  if (operation && isPublic(operation)) return operation
  const names = Object.keys(contract).filter(key => isPublic(contract[key] as Operation))
  const why = operation ? 'is not reached from outside the system' : 'is not in its contract'
  throw new DefinitionError(`${title}: the operation ${why}; of ${name} there are ${names.join(', ')}`)
}

const bodiesOf = ({ responses }: Operation): z.ZodType[] =>
  Object.entries(responses).flatMap(([status, { body }]) => (body && status.startsWith('2') ? [body] : []))

const PARTS = ['params', 'query', 'body'] as const
const MEMBERS = ['as', ...PARTS, 'headers', 'until', 'crosses']

function problemsOf(service: ServiceDefinition, operation: Operation, step: Omit<JourneyStep, 'service' | 'name' | 'operation'>): string[] {
  const unknown = Object.keys(step).filter(key => !MEMBERS.includes(key))
  const strangers = step.crosses.filter(callee => !service.calls.some(({ to }) => to.name === callee))
  return [
    ...unknown.map(key => `it takes no ${key}, but ${MEMBERS.join(', ')}`),
    ...(operation.auth === 'user' && !sourceOf(step.as)
      ? ["as is missing: user(), or the member of an answer that has the user's access token"]
      : []),
    ...(operation.auth === 'none' && step.as !== undefined ? ['it is for everybody, so as has no meaning'] : []),
    ...PARTS.flatMap(part => partProblems(part, operation[part], step[part])),
    ...(step.until && !isIdempotent(operation) ? [`until would repeat a ${operation.method}`] : []),
    ...strangers.map(callee => `crosses ${callee}, which ${service.name} does not call`),
  ]
}

/** What the schema does not allow, whatever the references turn out to be. */
function partProblems(part: string, schema: z.ZodType | undefined, value: unknown): string[] {
  if (!schema) return value === undefined ? [] : [`the operation has no ${part}`]
  const open: string[][] = []
  const example = fill(value, (source, path) => {
    if (source.from === 'fresh') return EXAMPLES[source.kind]()
    open.push(path)
    return ''
  })
  const found = schema.safeParse(example)
  if (found.success) return []
  const issues = found.error.issues.filter(({ code, path }) => code === 'unrecognized_keys' || !open.some(at => leadsTo(path, at)))
  return fieldProblems(part, issues).map(({ field, message }) => `${field}: ${message}`)
}

const EXAMPLES: Record<FreshKind, () => string> = {
  id: newId,
  email: () => 'ada-1@example.org',
  password: () => '11111-11111-11111-11111',
  text: () => '1111111111',
}

const leadsTo = (path: readonly PropertyKey[], other: readonly PropertyKey[]) => path.every((key, index) => String(key) === String(other[index]))
