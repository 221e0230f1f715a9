/** Length-prefixed messages: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */

export const PREFIX_BYTES = 5

export const GRPC_CONTENT_TYPE = 'application/grpc+proto'

/** Of an answer. */
export const HEAD = { 'content-type': GRPC_CONTENT_TYPE, 'grpc-accept-encoding': 'identity' }

export const isGrpc = (contentType: string | undefined): boolean => /^application\/grpc(?:\+proto)?(?:\s*;|$)/.test(contentType ?? '')

/** A message as it is sent, uncompressed. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length)
  framed.writeUInt8(0, 0)
  framed.writeUInt32BE(message.length, 1)
  framed.set(message, PREFIX_BYTES)
  return framed
}

export type Unframed = { message: Uint8Array } | { problem: 'compressed' | 'not-one-message' }

/** The one message of a unary call. */
export function unframe(bytes: Buffer): Unframed {
  if (bytes.length < PREFIX_BYTES) return { problem: 'not-one-message' }
  if (bytes.readUInt8(0) !== 0) return { problem: 'compressed' }
  if (bytes.readUInt32BE(1) !== bytes.length - PREFIX_BYTES) return { problem: 'not-one-message' }
  return { message: bytes.subarray(PREFIX_BYTES) }
}

/** Bytes of a frame with a message of at most `maxBytes`. */
export const framedBytes = (maxBytes: number): number => maxBytes + PREFIX_BYTES

/** The user-agent of our own clients, which follow DNS by themselves. */
export const OWN_AGENT = 'fairlead-grpc/1'

/**
 * `maxSessionMemory` of a connection, out of reach: Node 24 never takes back what a stream that was reset had still to write, and from the limit on
 * refuses every stream of a connection that may live for weeks. Streams per connection, sizes of messages and times bound memory instead.
 */
export const UNCOUNTED_MB = 1_000_000
