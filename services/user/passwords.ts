import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Failure, overloaded, type Scope } from '@fairlead/chassis'
import type { Metrics } from '@fairlead/chassis/telemetry'
import { BulkheadRejectedError, bulkhead } from 'cockatiel'

/** OWASP's Password Storage Cheat Sheet: argon2id with 19 MiB, 2 passes, 1 lane. */
const PARAMETERS = { memory: 19_456, passes: 2, parallelism: 1 }
const TAG_BYTES = 32
const MIN_CHARACTERS = 8

const COMMON = new Set(
  readFileSync(new URL('./common-passwords.txt', import.meta.url), 'utf8')
    .split('\n')
    .filter(line => line && !line.startsWith('#')),
)

export interface Passwords {
  /** A PHC string. */
  hash(scope: Scope, password: string): Promise<string>
  /** The same in a queue of its own: anybody may register, so that many who do must not keep out those who have an account. */
  hashOfNewcomer(scope: Scope, password: string): Promise<string>
  /** Compares in constant time. Without a hash (unknown user) it takes as long and says no. */
  verify(scope: Scope, password: string, hash: string | undefined): Promise<boolean>
}

/** @throws Failure `weak-password` */
export function refuseWeak(password: string): void {
  const normal = password.normalize('NFC')
  if ([...normal].length < MIN_CHARACTERS) throw weak(`A password has at least ${MIN_CHARACTERS} characters`)
  if (COMMON.has(normal.toLowerCase())) throw weak('This is one of the commonest passwords; take another')
}

const weak = (detail: string) => new Failure('invalid', 'weak-password', detail)

/**
 * Hashing is bounded: two at once, and one for newcomers, for each holds 19 MiB and a thread, and short queues; beyond them 503 `overloaded`.
 */
export function createPasswords(metrics: Metrics, { concurrency = 2, queue = 40, newcomers = 20 } = {}): Passwords {
  const known = bulkhead(concurrency, queue)
  const unknown = bulkhead(1, newcomers)
  const waiting = metrics.gauge('password_hash_queue', 'Password hashes waiting for a slot')
  const countWaiting = () => waiting.set(queue - known.queueSlots + newcomers - unknown.queueSlots)
  const derive = async (scope: Scope, password: string, nonce: Buffer, parameters = PARAMETERS, slots = known): Promise<Buffer> => {
    try {
      const done = slots.execute(() => {
        // Whoever asked may have gone while this waited.
        scope.deadline.signal.throwIfAborted()
        return argon2id(password.normalize('NFC'), nonce, parameters)
      })
      countWaiting()
      return await done
    } catch (error) {
      throw error instanceof BulkheadRejectedError ? overloaded() : error
    } finally {
      countWaiting()
    }
  }
  const hash = async (scope: Scope, password: string, slots: typeof known) => {
    const nonce = randomBytes(16)
    return formatPhc(PARAMETERS, nonce, await derive(scope, password, nonce, PARAMETERS, slots))
  }
  // The hash of no password: it makes an unknown user cost what a known one does.
  const decoy = { nonce: randomBytes(16), tag: randomBytes(TAG_BYTES) }
  return {
    hash: (scope, password) => hash(scope, password, known),
    hashOfNewcomer: (scope, password) => hash(scope, password, unknown),
    verify: async (scope, password, hash) => {
      const { parameters, nonce, tag } = hash === undefined ? { parameters: PARAMETERS, ...decoy } : parsePhc(hash)
      const same = timingSafeEqual(await derive(scope, password, nonce, parameters), tag)
      return same && hash !== undefined
    },
  }
}

/** Whether a hash was made with other parameters than today's and should be made anew at the next login. */
export function needsRehash(hash: string): boolean {
  const { parameters } = parsePhc(hash)
  return parameters.memory !== PARAMETERS.memory || parameters.passes !== PARAMETERS.passes || parameters.parallelism !== PARAMETERS.parallelism
}

const argon2id = (message: string, nonce: Buffer, parameters: typeof PARAMETERS) =>
  new Promise<Buffer>((resolve, reject) => {
    argon2('argon2id', { message, nonce, tagLength: TAG_BYTES, ...parameters }, (error, tag) => (error ? reject(error) : resolve(tag)))
  })

const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/={1,2}$/, '')

/** The PHC string format: https://github.com/P-H-C/phc-string-format */
function formatPhc({ memory, passes, parallelism }: typeof PARAMETERS, nonce: Buffer, tag: Buffer): string {
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${base64(nonce)}$${base64(tag)}`
}

function parsePhc(hash: string): { parameters: typeof PARAMETERS; nonce: Buffer; tag: Buffer } {
  const [, memory, passes, parallelism, nonce, tag] = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([\w+/]+)\$([\w+/]+)$/.exec(hash) ?? []
  if (!nonce || !tag) throw new Error('a stored password hash is not an argon2id PHC string')
  return {
    parameters: { memory: Number(memory), passes: Number(passes), parallelism: Number(parallelism) },
    nonce: Buffer.from(nonce, 'base64'),
    tag: Buffer.from(tag, 'base64'),
  }
}
