import { randomBytes } from 'node:crypto'
import type { JourneyStep } from '@fairlead/chassis'
import type { Dispatcher } from 'undici'
import { pause } from '../pause.ts'
import { type Remedy, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import { type CallOptions, call, type Received, type Sent, type Trouble, troubleWith } from './call.ts'
import type { Way } from './way.ts'

export interface StepOptions extends CallOptions {
  /** How long a step may take until its answer is good, in milliseconds. @default 60000 */
  stepTimeoutMs?: number
  /** The trace that a step is to be part of, as 32 hex digits. @default one of its own */
  traceId?: () => string
  /** The command that shows the logs of a service. @default none */
  logs?: (service: string) => string
}

/** How its runner takes a step. */
interface Manner {
  dispatcher: Dispatcher
  /** Asks again only for what `until` waits for; everything else that is not good is final. @default false */
  strict?: boolean
  /** Told of every answer, good or not, and of the milliseconds that it took. */
  onAnswer?: (title: string, status: number, ms: number) => void
}

/** A step that was taken. */
export interface Taken<Body = unknown> {
  step: JourneyStep
  /** E.g. `order.getOrder`. */
  title: string
  /** What was sent, with its secrets. */
  sent: Sent
  status: number
  body: Body
  /** From the first attempt to the good answer. */
  ms: number
  traceId: string
}

/** A step whose answer was not good. */
export class StepError extends CommandError {
  /** E.g. `order.getOrder`. */
  readonly title: string
  /** Of the last answer; undefined where there was none. */
  readonly status: number | undefined
  constructor(title: string, status: number | undefined, message: string, remedy: Remedy) {
    super(message, remedy)
    this.title = title
    this.status = status
  }
}

const PAUSE_MS = 500

/**
 * Takes the step at an index of a journey, where the way has come to.
 * @throws StepError naming the step, the status and the problem code; CommandError where a value is not known
 */
export async function takeStep(steps: readonly JourneyStep[], index: number, way: Way, options: StepOptions & Manner): Promise<Taken> {
  const step = steps[index] as JourneyStep
  const title = `${step.service.name}.${step.name}`
  const where = `${title} (step ${index + 1} of ${steps.length})`
  const { as, params, query, body, headers } = step
  const sent = await way.filled({ as, params, query, body, headers }, where)
  const traceId = options.traceId?.() ?? randomBytes(16).toString('hex')
  const startedAt = performance.now()
  const attempt = async () => {
    const sentAt = performance.now()
    const received = await call(step, sent, traceId, options).catch((error: Error) => error)
    if (!(received instanceof Error)) options.onAnswer?.(title, received.status, performance.now() - sentAt)
    return received
  }
  const answer = await untilGood(step, title, where, options, attempt)
  way.answered(title, answer.body)
  return { step, title, sent, status: answer.status, body: answer.body, ms: Math.round(performance.now() - startedAt), traceId }
}

/** Asks again until the answer is good, as long as that may help. */
async function untilGood(
  step: JourneyStep,
  title: string,
  where: string,
  { signal, stepTimeoutMs = 60_000, logs, strict = false }: StepOptions & Manner,
  attempt: () => Promise<Received | Error>,
): Promise<Received> {
  const endsAt = performance.now() + stepTimeoutMs
  const mayHelp = ({ kind }: Trouble) => kind === 'waiting' || (kind === 'passing' && !strict)
  for (;;) {
    const received = await attempt()
    signal.throwIfAborted()
    const trouble = troubleWith(received, step)
    if (!trouble) return received as Received
    const isLast = performance.now() > endsAt
    if (isLast || !mayHelp(trouble)) {
      const { method, path } = step.operation
      const said = `${where}: ${method} ${path} ${trouble.what}`
      const message = isLast ? `${said}, still after ${stepTimeoutMs / 1_000} s` : said
      throw new StepError(title, received instanceof Error ? undefined : received.status, message, logs ? toRun(logs(step.service.name)) : {})
    }
    await pause(PAUSE_MS, signal)
  }
}
