import type { Contract } from '../../services/chassis/contract/contract.ts'
import type { Verifiers } from '../../services/chassis/identity/auth.ts'
import type { BodyLimits } from '../../services/chassis/server/body.ts'
import { createApp, type Trust } from '../../services/chassis/server/pipeline.ts'
import type { Handlers } from '../../services/chassis/server/routes.ts'
import type { ShedLimits } from '../../services/chassis/server/shed.ts'
import { type Http, httpTo, type Listening, listen } from './http.ts'
import { type TestRuntime, testRuntime } from './runtime.ts'

export interface TinyOptions extends Partial<Trust> {
  timeoutMs?: number
  maxConcurrency?: number
  verifiers?: Verifiers
  body?: BodyLimits
  shedding?: Partial<ShedLimits>
}

export interface TinyService extends Listening {
  http: Http
  runtime: TestRuntime
}

/** A service of a few routes with the pipeline that every service has. */
export async function startTinyService<C extends Contract>(
  contract: C,
  handlers: NoInfer<Handlers<C>>,
  { timeoutMs = 5_000, maxConcurrency = 100, trustedHops = 0, ...options }: TinyOptions = {},
): Promise<TinyService> {
  const runtime = testRuntime('tiny')
  const app = createApp<C>(runtime, {
    service: { contract, timeoutMs, maxConcurrency },
    handlers,
    trustedHops,
    // So that a test can name its trace.
    ingressTraces: 'continue',
    ...options,
  })
  app.silent = true
  const listening = await listen(app)
  return { ...listening, runtime, http: httpTo(listening.url, contract) }
}
