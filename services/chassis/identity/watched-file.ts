import { stat } from 'node:fs/promises'
import type { Logger } from 'pino'

export interface Watched<T> {
  current(): T
  close(): void
}

export interface WatchOptions<T> {
  /** A file, or a folder as Kubernetes mounts it. */
  path: string
  /** Reads the path into a value; its errors keep the last value. */
  read: (path: string) => Promise<T>
  log: Logger
  /** @default 5000 */
  intervalMs?: number
}

/**
 * Follows a mounted Secret, ConfigMap or token by polling: the kubelet swaps symbolic links, which fs.watch does not see.
 * @throws whatever the first read throws
 */
export async function watchPath<T>({ path, read, log, intervalMs = 5_000 }: WatchOptions<T>): Promise<Watched<T>> {
  let stamp = await stampOf(path)
  let value = await read(path)
  let looking = false
  const timer = setInterval(async () => {
    if (looking) return
    looking = true
    try {
      const now = await stampOf(path)
      if (now === stamp) return
      value = await read(path)
      stamp = now
      log.info({ path }, 're-read')
    } catch (error) {
      log.warn({ path, err: error }, 'cannot be re-read; the last value stays')
    } finally {
      looking = false
    }
  }, intervalMs).unref()
  return { current: () => value, close: () => clearInterval(timer) }
}

const stampOf = async (path: string) => {
  const { mtimeMs, ino, size } = await stat(path)
  return `${mtimeMs}/${ino}/${size}`
}
