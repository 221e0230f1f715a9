import type { Readable } from 'node:stream'
import { unlessAborted } from '../../contract/deadline.ts'
import { PREFIX_BYTES } from '../../grpc/frame.ts'
import type { CodeName } from '../../grpc/status.ts'

export interface MessageBounds {
  /** Longest message. */
  maxBytes: number
  /** Messages of one stream. */
  maxMessages: number
}

/** Why a stream is ended before its caller ends it. */
export class StreamRefused extends Error {
  override name = 'StreamRefused'
  readonly code: CodeName

  constructor(code: CodeName, detail: string) {
    super(detail)
    this.code = code
  }
}

/**
 * The messages of a stream, one after the other: while one is handled the next waits in the transport's window.
 * @throws StreamRefused for what is compressed, too long, too many or cut off, the signal's reason when it aborts
 */
export async function* readMessages(source: Readable, { maxBytes, maxMessages }: MessageBounds, signal: AbortSignal): AsyncGenerator<Buffer> {
  const chunks = source.iterator({ destroyOnReturn: false })
  let held = Buffer.alloc(0)
  let count = 0
  for (;;) {
    while (held.length >= PREFIX_BYTES) {
      if (held.readUInt8(0) !== 0) throw new StreamRefused('UNIMPLEMENTED', 'Messages are taken uncompressed only: send grpc-encoding: identity')
      const length = held.readUInt32BE(1)
      if (length > maxBytes) throw new StreamRefused('RESOURCE_EXHAUSTED', `The message is larger than ${maxBytes} bytes`)
      if (held.length < PREFIX_BYTES + length) break
      if (++count > maxMessages) throw new StreamRefused('RESOURCE_EXHAUSTED', `A stream carries at most ${maxMessages} messages: open another`)
      const message = held.subarray(PREFIX_BYTES, PREFIX_BYTES + length)
      held = held.subarray(PREFIX_BYTES + length)
      yield message
    }
    const { done, value } = await unlessAborted(signal, chunks.next())
    if (done) break
    held = held.length === 0 ? value : Buffer.concat([held, value])
  }
  if (held.length > 0) throw new StreamRefused('INVALID_ARGUMENT', 'The stream ends in the middle of a message')
}
