import type pg from 'pg'

/** Of every connection of a service. */
export const connectionSettings = (service: string, connectMs: number) =>
  ({ application_name: service, connectionTimeoutMillis: connectMs, keepAlive: true }) as const

/** pg's own end() says goodbye first, which a hanging server never hears. */
export function destroySocket(client: pg.ClientBase): void {
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } }
  connection.stream.destroy()
}
