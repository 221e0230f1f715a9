import { connect as connectTcp } from 'node:net'
import { type buildConnector, errors } from 'undici'

export const CONNECT_TIMEOUT_MS = 250

/** undici's own connect timeout counts in half seconds and so comes after the attempt's time is spent. */
export const connectInTime: buildConnector.connector = ({ hostname, port }, callback) => {
  const socket = connectTcp({ host: hostname, port: Number(port), noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 })
  const timer = setTimeout(() => socket.destroy(new errors.ConnectTimeoutError(`no connection in ${CONNECT_TIMEOUT_MS} ms`)), CONNECT_TIMEOUT_MS)
  let waiting: buildConnector.Callback | undefined = callback
  const settle = (...result: buildConnector.CallbackArgs) => {
    clearTimeout(timer)
    waiting?.(...result)
    waiting = undefined
  }
  socket.once('connect', () => settle(null, socket)).on('error', error => settle(error, null))
}
