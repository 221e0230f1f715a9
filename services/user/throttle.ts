import { createHash } from 'node:crypto'
import { Failure, type Scope } from '@fairlead/chassis'
import { type Database, statement } from '@fairlead/chassis/data'

export interface ThrottleLimits {
  /** Failures of one address at one account in a window. @default 10 */
  pair: number
  /** Failures of one address at any accounts. @default 100 */
  address: number
  /** Failures of all addresses at one account; addresses that have logged in there lately are exempt. @default 100 */
  account: number
  /** Registrations that one address may try, whether or not they succeed. @default 20 */
  registrations: number
  /** @default 900 (15 minutes) */
  windowSeconds: number
}

interface AttemptRow {
  failures: number
  retryAfter: number
  known: boolean
}

const BUCKET = `ceil(extract(epoch from window_ends_at - now()))::int as "retryAfter",
     coalesce(succeeded_at > now() - interval '30 days', false) as known`
const LOOK = statement<AttemptRow & { bucket: Buffer }>(
  'login-attempt-look',
  `select bucket, case when window_ends_at <= now() then 0 else failures end as failures, ${BUCKET} from login_attempts where bucket = any($1)`,
)

const COUNT = statement<AttemptRow>(
  'login-attempt-count',
  `insert into login_attempts as a (bucket, failures, window_ends_at) values ($1, 1, now() + $2 * interval '1 second')
   on conflict (bucket) do update set
     failures = case when a.window_ends_at <= now() then 1 else a.failures + 1 end,
     window_ends_at = case when a.window_ends_at <= now() then excluded.window_ends_at else a.window_ends_at end
   returning failures, ${BUCKET}`,
)
// Locks in one order, whatever the plan, so that two log-ins that share rows cannot deadlock.
const SUCCEED = statement(
  'login-attempt-succeed',
  `update login_attempts a set
     failures = case when a.bucket = $1 then 0 else greatest(failures - 1, 0) end,
     succeeded_at = case when a.bucket = $1 then now() else succeeded_at end
   from (select bucket from login_attempts where bucket = any($2) order by bucket for update) locked where a.bucket = locked.bucket`,
)
const TAKE_BACK = statement(
  'login-attempt-take-back',
  `update login_attempts a set failures = greatest(failures - 1, 0)
   from (select bucket from login_attempts where bucket = any($1) order by bucket for update) locked where a.bucket = locked.bucket`,
)
const PURGE = statement(
  'login-attempt-purge',
  "delete from login_attempts where window_ends_at < now() and (succeeded_at is null or succeeded_at < now() - interval '30 days')",
)

export interface Throttle {
  /**
   * Counts an attempt before the password is looked at, so that parallel guesses are counted too.
   * @throws Failure `too-many-attempts` with Retry-After
   */
  attempt(scope: Scope, account: string, address: string): Promise<void>
  /** Takes the attempt back and remembers the address as one that the account's owner uses. */
  succeed(scope: Scope, account: string, address: string): Promise<void>
  /** Takes an attempt back that came to no decision: an overload must not use up what an honest user has. */
  takeBack(scope: Scope, account: string, address: string): Promise<void>
  /**
   * Counts a registration, also one of an e-mail address that is taken: who probes for accounts is stopped as well.
   * @throws Failure `too-many-attempts` with Retry-After
   */
  register(scope: Scope, address: string): Promise<void>
  /** Takes a registration back that came to no decision. */
  takeBackRegistration(scope: Scope, address: string): Promise<void>
  purge(scope: Scope): Promise<unknown>
}

/**
 * Limits guessing without a lever to lock others out: whoever fails too often is stopped at their own address first and then
 * counts no further against the account, and an address from which an account was used lately stays open to that account. What is
 * refused is refused by a look, so that a flood of it writes nothing. In Postgres, so that it survives restarts and holds across replicas.
 */
export function createThrottle(
  database: Database,
  { pair = 10, address: perAddress = 100, account: perAccount = 100, registrations = 20, windowSeconds = 900 }: Partial<ThrottleLimits> = {},
): Throttle {
  const look = async (scope: Scope, wanted: Buffer[]) => {
    const rows = await database.query(scope, LOOK, [wanted])
    return wanted.map(bucket => rows.find(row => row.bucket.equals(bucket)))
  }
  const count = async (scope: Scope, bucket: Buffer) => {
    const [row] = await database.query(scope, COUNT, [bucket, windowSeconds])
    return row as AttemptRow
  }
  /** @param most failures, this attempt included when it is counted already */
  const hold = (row: AttemptRow | undefined, most: number, what = 'failed logins') => {
    if (row && row.failures > most) {
      throw new Failure('too-many', 'too-many-attempts', `Too many ${what}; try again in ${row.retryAfter} seconds`, {
        retryAfterSeconds: Math.max(1, row.retryAfter),
      })
    }
  }
  const buckets = (account: string, address: string) => ({
    pair: hash('pair', account, address),
    address: hash('address', address),
    account: hash('account', account),
  })
  const ofRegistrations = (address: string) => hash('registration', address)
  return {
    attempt: async (scope, account, address) => {
      const bucket = buckets(account, address)
      const [mine, here, all] = await look(scope, [bucket.pair, bucket.address, bucket.account])
      hold(mine, pair - 1)
      if (!mine?.known) {
        hold(here, perAddress - 1)
        hold(all, perAccount - 1)
      }
      // Counted one by one: of many at once that all found room, no more than the limit go on.
      const counted = await count(scope, bucket.pair)
      hold(counted, pair)
      const countedHere = await count(scope, bucket.address)
      if (!counted.known) hold(countedHere, perAddress)
      const countedAll = await count(scope, bucket.account)
      if (!counted.known) hold(countedAll, perAccount)
    },
    succeed: async (scope, account, address) => {
      const bucket = buckets(account, address)
      await database.query(scope, SUCCEED, [bucket.pair, [bucket.pair, bucket.address, bucket.account]])
    },
    takeBack: async (scope, account, address) => {
      await database.query(scope, TAKE_BACK, [Object.values(buckets(account, address))])
    },
    register: async (scope, address) => {
      const bucket = ofRegistrations(address)
      const [here] = await look(scope, [bucket])
      hold(here, registrations - 1, 'registrations')
      hold(await count(scope, bucket), registrations, 'registrations')
    },
    takeBackRegistration: async (scope, address) => {
      await database.query(scope, TAKE_BACK, [[ofRegistrations(address)]])
    },
    purge: scope => database.query(scope, PURGE),
  }
}

/** JSON keeps the parts apart: no account and address can be read as another pair. */
const hash = (...parts: string[]) => createHash('sha256').update(JSON.stringify(parts)).digest()
