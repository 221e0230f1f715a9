import { randomBytes } from 'node:crypto'
import { type FreshKind, fill, newId, type Source } from '@fairlead/chassis'
import { CommandError } from '../terminal.ts'
import type { Sent } from './call.ts'
import type { UserTokens } from './user-tokens.ts'

/** One client's way through a journey: what its references stand for. */
export interface Way {
  /**
   * A value with what its references stand for, as far as the client has come.
   * @param where the step, for errors
   * @throws CommandError naming what nobody gives
   */
  filled(value: unknown, where: string): Promise<Sent>
  /** Notes the answer to the next step. */
  answered(title: string, body: unknown): void
  /** Another way that goes on from here: with the same answers, and fresh values of its own for what comes. */
  fork(): Way
}

const FRESH: Record<FreshKind, () => string> = {
  id: newId,
  email: () => `journey-${randomBytes(6).toString('hex')}@example.org`,
  password: () => randomBytes(18).toString('base64url'),
  text: () => randomBytes(12).toString('hex'),
}

/** @param userToken gives the access token of a user of a foreign issuer; without it nobody does */
export const beginWay = (userToken?: UserTokens): Way => wayFrom(userToken, new Map(), [])

interface Answered {
  title: string
  body: unknown
}

function wayFrom(userToken: UserTokens | undefined, known: Map<string, unknown>, answers: Answered[]): Way {
  const valueFrom = async (source: Source, where: string): Promise<unknown> => {
    if (source.from === 'fresh') return FRESH[source.kind]()
    if (source.from === 'user') {
      if (!userToken) throw new CommandError(`${where}: the access token of a user ('${source.name}') is wanted, and nobody here gives one`)
      return userToken(source.name)
    }
    const { title, body } = answers[source.step] as Answered
    const value = source.path.reduce<unknown>((member, key) => (member as Record<string, unknown> | null | undefined)?.[key], body)
    if (value === undefined) throw new CommandError(`${where}: the answer of ${title} has no ${source.path.join('.') || 'body'}`)
    return value
  }
  return {
    filled: async (value, where) => {
      for (const source of sourcesOf(value)) {
        const key = JSON.stringify(source)
        if (!known.has(key)) known.set(key, await valueFrom(source, where))
      }
      return fill(value, source => known.get(JSON.stringify(source))) as Sent
    },
    answered: (title, body) => answers.push({ title, body }),
    fork: () => wayFrom(userToken, new Map(known), [...answers]),
  }
}

/** The references in a value, in order. */
export function sourcesOf(value: unknown): Source[] {
  const sources: Source[] = []
  fill(value, source => sources.push(source))
  return sources
}
