import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isFree } from '@fairlead/chassis/local'
import { stringify } from 'yaml'
import { fairlead, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'

const execute = promisify(execFile)
const CREATE_TIMEOUT_MS = 600_000

/** Ports of 127.0.0.1 by the port of the node that they reach. */
export const INGRESS_PORTS = { http: 8_000, https: 8_443 } as const

export interface KindOptions {
  name: string
  /** The system that it is for: one cluster is one system's. */
  system: string
  /** Image of the nodes; kind's own default without it. */
  nodeImage?: string | undefined
  /** Nodes beside the control plane. @default 0 */
  workers?: number
  /** Folder in which a creation that has begun is noted. */
  stateDir: string
}

async function program(name: string, args: string[], { signal, timeout = 30_000 }: { signal?: AbortSignal; timeout?: number } = {}): Promise<string> {
  try {
    return (await execute(name, args, { timeout, maxBuffer: 16 << 20, ...(signal && { signal }) })).stdout
  } catch (error) {
    const { code, stderr = '', message } = error as NodeJS.ErrnoException & { stderr?: string }
    signal?.throwIfAborted()
    if (code === 'ENOENT') throw new CommandError(`${name} is not installed, or not on the PATH`, { page: installation[name] ?? '' })
    const lines = stderr.trim().split('\n').filter(Boolean)
    throw new CommandError(`${name} ${args.slice(0, 2).join(' ')} failed: ${lines.slice(-3).join(' | ') || message}`)
  }
}

const installation: Record<string, string> = {
  docker: 'https://docs.docker.com/engine/install',
  kind: 'https://kind.sigs.k8s.io/docs/user/quick-start#installation',
}

/** @throws CommandError when docker is missing or its daemon does not answer */
export const checkDocker = (signal: AbortSignal): Promise<string> => program('docker', ['version', '--format', '{{.Server.Version}}'], { signal })

/** @throws CommandError when docker or kind is missing or the daemon does not answer */
export async function checkTools(signal: AbortSignal): Promise<string> {
  const version = await program('kind', ['version'], { signal })
  const docker = await checkDocker(signal)
  return `${version.trim().split(' ').slice(0, 2).join(' ')}, docker ${docker.trim()}`
}

export const clusterExists = async (name: string): Promise<boolean> => (await program('kind', ['get', 'clusters'])).split('\n').includes(name)

/** The cluster's description: http and https of the control plane's node on 127.0.0.1 only. */
export const kindConfig = (workers: number): string =>
  stringify({
    kind: 'Cluster',
    apiVersion: 'kind.x-k8s.io/v1alpha4',
    nodes: [
      {
        role: 'control-plane',
        extraPortMappings: [
          { containerPort: 80, hostPort: INGRESS_PORTS.http, listenAddress: '127.0.0.1', protocol: 'TCP' },
          { containerPort: 443, hostPort: INGRESS_PORTS.https, listenAddress: '127.0.0.1', protocol: 'TCP' },
        ],
      },
      ...Array.from({ length: workers }, () => ({ role: 'worker' })),
    ],
  })

/**
 * Creates the cluster unless it is there; one that a killed run left half made is made anew.
 * @throws CommandError when a cluster of that name is there that was not made here
 */
export async function ensureCluster(
  { name, system, nodeImage, workers = 0, stateDir }: KindOptions,
  signal: AbortSignal,
): Promise<'created' | 'present' | 'repaired'> {
  const unfinished = join(stateDir, `kind-${name}.unfinished`)
  const exists = await clusterExists(name)
  const halfMade = exists && existsSync(unfinished)
  if (exists && !halfMade) {
    if (!(await isOurs(name))) {
      throw new CommandError(
        `a kind cluster '${name}' is there that npx fairlead up did not make`,
        toRun(fairlead(`kind-${name}`, 'deploy'), 'npx fairlead up --name NAME'),
      )
    }
    const other = await anotherSystemIn(name, system)
    if (other)
      throw new CommandError(`the kind cluster '${name}' runs the system ${other}`, {
        advice: `both need ports ${Object.values(INGRESS_PORTS).join(' and ')}: first run npx fairlead down in the folder of ${other}`,
        commands: [`npx fairlead up --name ${system}`],
      })
    await program('kind', ['export', 'kubeconfig', '--name', name], { signal })
    return 'present'
  }
  if (halfMade) await program('kind', ['delete', 'cluster', '--name', name], { signal, timeout: 120_000 })
  for (const port of Object.values(INGRESS_PORTS)) {
    if (!(await isFree(port)))
      throw new CommandError(`port ${port} on 127.0.0.1 is taken: the ingress needs it`, toRun(`docker ps --filter publish=${port}`))
  }
  await mkdir(stateDir, { recursive: true })
  await writeFile(unfinished, '')
  const args = ['create', 'cluster', '--name', name, '--wait', '180s', '--config', '-', ...(nodeImage ? ['--image', nodeImage] : [])]
  const creation = execute('kind', args, { timeout: CREATE_TIMEOUT_MS, signal })
  creation.child.stdin?.end(kindConfig(workers))
  await creation.catch((error: Error & { stderr?: string }) => {
    signal.throwIfAborted()
    throw new CommandError(`kind create cluster failed: ${(error.stderr || error.message).trim().split('\n').slice(-3).join(' | ')}`)
  })
  await program('docker', ['exec', `${name}-control-plane`, 'sh', '-c', `printf %s '${system}' > ${MARK}`])
  await rm(unfinished, { force: true })
  return halfMade ? 'repaired' : 'created'
}

/** A file on the node that says that the cluster was made here, and for which system: other clusters may have the name. */
const MARK = '/kind/fairlead'

/** Whether npx fairlead up made the cluster; undefined when docker cannot tell. */
export const wasMadeHere = (name: string): Promise<boolean | undefined> =>
  execute('docker', ['exec', `${name}-control-plane`, 'test', '-f', MARK], { timeout: 10_000 }).then(
    () => true,
    // Nothing but `test` itself ends with 1 and says nothing.
    ({ code, stderr }: { code?: unknown; stderr?: string }) => (code === 1 && stderr === '' ? false : undefined),
  )

/** The system that a cluster was made for, where that is another. */
export async function anotherSystemIn(name: string, system: string): Promise<string | undefined> {
  const { stdout } = await execute('docker', ['exec', `${name}-control-plane`, 'cat', MARK], { timeout: 10_000 }).catch(() => ({ stdout: '' }))
  const found = stdout.trim()
  return found === '' || found === system ? undefined : found
}

export const isOurs = async (name: string): Promise<boolean> => (await wasMadeHere(name)) === true

export const deleteCluster = async (name: string, signal: AbortSignal): Promise<void> => {
  await program('kind', ['delete', 'cluster', '--name', name], { signal, timeout: 120_000 })
}

/** Brings images to the nodes that lack them. @returns how many loads that took */
export async function loadImages(name: string, references: readonly string[], signal: AbortSignal): Promise<number> {
  const nodes = (await program('kind', ['get', 'nodes', '--name', name], { signal })).trim().split('\n')
  let loads = 0
  for (const node of nodes) {
    const present = await program('docker', ['exec', node, 'ctr', '--namespace', 'k8s.io', 'images', 'list', '--quiet'], { signal })
    const missing = references.filter(reference => !present.split('\n').includes(`docker.io/${reference}`))
    if (missing.length === 0) continue
    await program('kind', ['load', 'docker-image', '--name', name, '--nodes', node, ...missing], { signal, timeout: 300_000 })
    loads += missing.length
  }
  return loads
}
