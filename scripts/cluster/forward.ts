import { type AddressInfo, createServer, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { type KubeConfig, PortForward } from '@kubernetes/client-node'

export interface Forwarded {
  /** `http://127.0.0.1:PORT` */
  url: string
  close(): Promise<void>
}

/**
 * A port of a pod on a free port of 127.0.0.1, through the kubelet: network policies do not hold for it, the rights of the kubeconfig do.
 */
export async function forwardPort(config: KubeConfig, namespace: string, pod: string, port: number): Promise<Forwarded> {
  const forward = new PortForward(config)
  const open = new Set<Socket>()
  const server = createServer(socket => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    socket.on('error', () => socket.destroy())
    const errors = new PassThrough()
    errors.on('data', () => socket.destroy())
    forward.portForward(namespace, pod, [port], socket, errors, socket).then(
      channel => {
        // The library leaves the channel open when the connection ends, and would keep the process alive by it.
        if (!('close' in channel)) return
        if (socket.destroyed) channel.close()
        socket.on('close', () => channel.close())
        channel.on('close', () => socket.destroy())
      },
      () => socket.destroy(),
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      for (const socket of open) socket.destroy()
      await new Promise<void>(resolve => server.close(() => resolve()))
    },
  }
}
