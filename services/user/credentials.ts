import { type Scope, tooManyRequests } from '@fairlead/chassis'
import { createPlaces } from '@fairlead/chassis/server'
import type { Passwords } from './passwords.ts'
import type { Throttle } from './throttle.ts'

interface Account {
  id: string
  passwordHash: string
}

export interface PasswordCheck<A extends Account> {
  /** None, where nobody has the address: the answer and its time are those of a wrong password. */
  account: A | undefined
  /** What failed attempts are counted by. */
  key: string
  /** Who asks. */
  address: string
  password: string
}

/** The work on passwords that strangers can ask for, within the throttle and each source's share of the queue. */
export function createCredentials(passwords: Passwords, throttle: Throttle) {
  // Whoever logs in to accounts of their own, again and again, fails at nothing that the throttle counts.
  const shares = passwordShares(10)
  const newcomers = passwordShares(10)
  return {
    /** @returns the account, if the password is its own */
    check: <A extends Account>(scope: Scope, { account, key, address, password }: PasswordCheck<A>): Promise<A | undefined> =>
      shares.use(address, async () => {
        await throttle.attempt(scope, key, address)
        const right = await passwords.verify(scope, password, account?.passwordHash).catch(async error => {
          await throttle.takeBack(scope, key, address).catch(() => {})
          throw error
        })
        if (!right) return undefined
        await throttle.succeed(scope, key, address)
        return account
      }),

    hashOfNewcomer: (scope: Scope, address: string, password: string): Promise<string> =>
      newcomers.use(address, async () => {
        await throttle.register(scope, address)
        return passwords.hashOfNewcomer(scope, password).catch(async error => {
          await throttle.takeBackRegistration(scope, address).catch(() => {})
          throw error
        })
      }),
  }
}

export type Credentials = ReturnType<typeof createCredentials>

/** Password checks that one source has under way or waiting: the queue (passwords.ts) is for all of them. */
function passwordShares(perSource: number) {
  const places = createPlaces({ total: Number.POSITIVE_INFINITY, perSource })
  return {
    /** @throws Failure `too-many-requests` */
    use: async <T>(address: string, work: () => Promise<T>): Promise<T> => {
      if (places.take(address)) throw tooManyRequests('Too many passwords from your address are being checked')
      try {
        return await work()
      } finally {
        places.give(address)
      }
    },
  }
}
