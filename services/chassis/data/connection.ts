import type pg from 'pg'

/** Of every connection of a service. */
export const connectionSettings = (service: string, connectMs: number) =>
  ({ application_name: service, connectionTimeoutMillis: connectMs, keepAlive: true }) as const

/**
 * Gives a session a setting, as long as it is not connected. pg lets a URL's own options take the place of those it is given; these come on top.
 * @example setOption(client, 'default_transaction_read_only=on')
 */
export function setOption(client: pg.Client, setting: string): void {
  const { connectionParameters } = client as unknown as { connectionParameters: { options?: string } }
  connectionParameters.options = [connectionParameters.options, `-c ${setting}`].filter(Boolean).join(' ')
}

/** pg's own end() says goodbye first, which a hanging server never hears. */
export function destroySocket(client: pg.ClientBase): void {
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } }
  connection.stream.destroy()
}
