import { createWriteStream, type WriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { TestProject } from 'vitest/node'
import { followLogs } from '../../../scripts/cluster/follow-logs.ts'
import { cluster, settings } from './target.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Folder with everything that the containers of the system write during the run, a file each. */
    logs: string
  }
}

/** Keeps the logs of the whole run, also of pods that do not live to its end. The processes of the tests, which are begun after it, give way to the cluster. */
export default async function record(project: TestProject): Promise<() => Promise<void>> {
  // The cluster shares this machine: to the kernel all of its nodes weigh as much as one process of ours, unless those give way.
  setPriority(10)
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-logs-'))
  project.provide('logs', dir)
  const stop = new AbortController()
  const files = new Map<string, WriteStream>()
  const write = (pod: string, container: string, line: string) => {
    const name = `${pod}.${container}.log`
    const file = files.get(name) ?? createWriteStream(join(dir, name))
    files.set(name, file)
    file.write(`${line}\n`)
  }
  const { NAMESPACE, INGRESS_NAMESPACE, MONITORING_NAMESPACE, TRACING_NAMESPACE } = settings
  const namespaces = [...new Set([NAMESPACE, INGRESS_NAMESPACE, MONITORING_NAMESPACE, TRACING_NAMESPACE])]
  const recording = Promise.all(namespaces.map(namespace => follow(namespace, write, stop.signal)))
  return async () => {
    stop.abort()
    await recording
    for (const file of files.values()) await new Promise(resolve => file.end(resolve))
    await rm(dir, { recursive: true, force: true })
  }
}

/** Again when the API server did not answer for a moment. */
async function follow(namespace: string, write: (pod: string, container: string, line: string) => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await followLogs(cluster, { namespace, lines: 1_000_000, signal }, write).catch(() => {})
    await pause(1_000, undefined, { signal }).catch(() => {})
  }
}
