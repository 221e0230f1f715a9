import type { z } from 'zod'
import type { Command } from '../contract/commands.ts'
import { parsePart } from '../contract/contract.ts'
import type { Message, NotDelivered } from './messages.ts'

/** As long as pods of another version may run, which may know a message that this one does not. */
export const UNKNOWN_ATTEMPTS = 40

/**
 * Why a message must not be sent as this process would send it: its command, that command's version or the parts of the call are not known here, be it
 * that another version of the service wrote it, or a hand. A transport would leave out, or fail at, what it has no place for.
 */
export function unknownIn(commands: ReadonlyMap<string, Command>, message: Message): NotDelivered | undefined {
  const command = commands.get(message.kind)
  const reason = !command
    ? 'unknown-kind'
    : command.version !== message.version
      ? 'unknown-version'
      : fits(command, message.payload)
        ? undefined
        : 'unknown-payload'
  return reason === undefined ? undefined : { kind: message.attempts < UNKNOWN_ATTEMPTS ? 'retry' : 'park', reason }
}

const PARTS = ['params', 'query', 'body'] as const

const fits = ({ operation }: Command, payload: Record<string, unknown>): boolean =>
  PARTS.every(part => (operation[part] ? accepts(part, operation[part], payload[part]) : payload[part] === undefined))

function accepts(part: string, schema: z.ZodType, value: unknown): boolean {
  try {
    parsePart(part, schema, value)
    return true
  } catch {
    return false
  }
}
