import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { connectInTime } from '../../../services/chassis/client/connect.ts'
import { freePort } from '../../../services/chassis/local/ports.ts'

const connect = (port: number, host = '127.0.0.1') =>
  new Promise<Socket>((resolve, reject) => {
    const target = { hostname: host, host, protocol: 'http:', port: String(port), servername: '', localAddress: null }
    connectInTime(target as never, (error, socket) => (error ? reject(error) : resolve(socket as Socket)))
  })

describe('connectInTime', () => {
  test('connects', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const socket = await connect((server.address() as AddressInfo).port)
    expect(socket.readyState).toBe('open')
    socket.destroy()
    server.close()
  })

  test('passes a refusal on', async () => {
    await expect(connect(await freePort())).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})
