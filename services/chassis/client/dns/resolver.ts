import { randomInt } from 'node:crypto'
import { getServers } from 'node:dns'
import { type DnsServer, parseDnsServer } from '../../contract/dns-server.ts'
import { NoReply, overTcp, overUdp } from './exchange.ts'
import { decodeReply, encodeQuestion, type Question, type Reply } from './message.ts'

export interface Resolver {
  /**
   * Asks the servers in turn, the one that answered last first, until one knows.
   * @throws Error when none does
   */
  ask(question: Question, signal: AbortSignal): Promise<Reply>
}

/** A datagram may be lost. */
const ROUNDS_MS = [300, 600, 1_000]
/** After a truncated answer: connection and all. */
const TCP_MS = 1_000

/**
 * A stub resolver. Unlike Node's own it tells how long answers are good for.
 * @param servers those of /etc/resolv.conf unless given
 * @param roundsMs how long each has, round by round
 */
export function createResolver(servers: readonly DnsServer[] = getServers().map(parseDnsServer), roundsMs: readonly number[] = ROUNDS_MS): Resolver {
  let lastGood: DnsServer | undefined

  return {
    ask: async (question, signal) => {
      let left = lastGood ? [lastGood, ...servers.filter(server => server !== lastGood)] : [...servers]
      const failures = new Map<DnsServer, unknown>()
      for (const timeoutMs of roundsMs) {
        for (const server of left) {
          try {
            const reply = await askOne(server, question, timeoutMs, signal)
            lastGood = server
            return reply
          } catch (error) {
            signal.throwIfAborted()
            failures.set(server, error)
            // Silence may be a lost datagram. Whoever refuses, refuses again.
            if (!(error instanceof NoReply)) left = left.filter(other => other !== server)
          }
        }
      }
      const why = [...failures.values()].map(error => (error as Error).message)
      throw new Error(`no answer for ${question.type} ${question.name}: ${why.join('; ') || 'there is no DNS server'}`)
    },
  }
}

async function askOne(server: DnsServer, question: Question, timeoutMs: number, signal: AbortSignal): Promise<Reply> {
  const id = randomInt(0x10000)
  const bytes = encodeQuestion(id, question)
  const reply = await overUdp(server, bytes, received => decodeReply(received, id, question), timeoutMs, signal)
  if (reply !== 'truncated') return reply
  const whole = await overTcp(server, bytes, received => decodeReply(received, id, question), TCP_MS, signal)
  if (whole === 'truncated') throw new Error('the answer is truncated over TCP, too')
  return whole
}
