import { PROBE } from '../../../scripts/doctor/probe.ts'
import { cluster, eventually } from './target.ts'

export interface PodOptions {
  namespace: string
  name: string
  image: string
  labels?: Record<string, string>
  command?: string[]
  args?: string[]
  /** Whether it listens on a port below 1024. */
  lowPort?: boolean
  /** Folders by the Secret or ConfigMap that they have. */
  mounts?: Record<string, { secret: string } | { configMap: string }>
  dnsServer?: string
}

const logOf = ({ namespace, name }: Pick<PodOptions, 'namespace' | 'name'>) => cluster.logTail(namespace, name, 'main', { lines: 1_000 })

/** Starts a pod that is never ready, so that no Service sends it anything. @returns what it has logged so far */
export async function startPod({ namespace, name, image, labels, command, args, lowPort, mounts = {}, dnsServer }: PodOptions) {
  const volumes = Object.entries(mounts).map(([mountPath, from], index) => ({
    mount: { name: `v${index}`, mountPath, readOnly: true },
    volume: { name: `v${index}`, ...('secret' in from ? { secret: { secretName: from.secret } } : { configMap: { name: from.configMap } }) },
  }))
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { [PROBE]: 'true', ...labels } },
    spec: {
      restartPolicy: 'Never',
      activeDeadlineSeconds: 600,
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...(dnsServer && { dnsPolicy: 'None', dnsConfig: { nameservers: [dnsServer] } }),
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 10_001,
        runAsGroup: 10_001,
        fsGroup: 10_001,
        seccompProfile: { type: 'RuntimeDefault' },
        ...(lowPort && { sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '53' }] }),
      },
      containers: [
        {
          name: 'main',
          image,
          imagePullPolicy: 'IfNotPresent',
          ...(command && { command }),
          ...(args && { args }),
          readinessProbe: { exec: { command: ['/nothing'] } },
          resources: { requests: { cpu: '5m', memory: '16Mi' }, limits: { cpu: '500m', memory: '128Mi' } },
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          volumeMounts: volumes.map(({ mount }) => mount),
        },
      ],
      volumes: volumes.map(({ volume }) => volume),
    },
  }
  await cluster.create(pod)
  const live = await eventually(
    () => cluster.read(pod),
    found => {
      if (!found?.status?.podIP || found.status.phase === 'Pending') throw new Error(`${namespace}/${name} has not started: ${found?.status?.phase}`)
    },
    60_000,
  )
  return { address: live?.status.podIP as string, log: () => logOf({ namespace, name }), remove: () => cluster.remove(pod) }
}

/** A namespace for the time of some tests. */
export async function makeNamespace(name: string): Promise<() => Promise<void>> {
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
  await cluster.create(namespace)
  return async () => {
    await cluster.remove(namespace)
    await eventually(
      () => cluster.exists(namespace),
      exists => {
        if (exists) throw new Error(`namespace ${name} has not gone`)
      },
      120_000,
    )
  }
}
