interface Codec {
  request: { write(message: never): Buffer; read(bytes: Buffer): unknown }
  answer: { write(message: never): Buffer; read(bytes: Buffer): unknown }
}
export function listenGrpcJs(codec: Codec, reserve: (message: never) => unknown): Promise<number>
export function callGrpcJs(codec: Codec, port: number): (message: unknown) => Promise<unknown>
