import { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { labelsOf, make, type Owner, ownPods } from '../objects/object.ts'
import { quantity } from '../objects/quantity.ts'
import { containerSecurity, pinnedImages, podSecurity } from '../objects/restricted.ts'

/** How long a program of the platform may take to be ready, in seconds. */
const START_SECONDS = 120

interface Probe {
  path: string
  port: string
  scheme?: 'HTTPS'
}

export interface ProgramOptions {
  namespace: string
  image: string
  args: string[]
  env?: k8s.Container['env']
  /** Ports by name. */
  ports: Record<string, number>
  hostPorts?: Record<string, number>
  /** HTTP path on a port of `ports` that answers when it is ready. */
  ready: Probe
  /** And when it is not past help. @default a connection to the same port */
  live?: Probe
  resources: k8s.Container['resources']
  /** ConfigMaps by the folder that they are mounted at, alone or with a Secret that may be missing. */
  config?: Record<string, string | { configMap: string; secret: string }>
  /** Digest of what is in the ConfigMaps: the program does not read them again by itself. */
  checksum?: string
  /** Writable folders, kept in memory of the node for as long as the pod lives. */
  scratch?: Record<string, string>
  /** Whether it talks to the Kubernetes API. */
  api?: boolean
  lifecycle?: k8s.Container['lifecycle']
  pod?: Partial<k8s.PodSpec>
}

const configVolume = (from: string | { configMap: string; secret: string }): k8s.Volume => {
  if (typeof from === 'string') return { name: from, configMap: { name: from } }
  const sources = [{ configMap: { name: from.configMap } }, { secret: { name: from.secret, optional: true } }]
  return { name: from.configMap, projected: { sources } }
}

const action = ({ port, ...rest }: Probe): k8s.HttpGetAction => ({ ...rest, port: k8s.IntOrString.fromString(port) })

/** One of each is what a cluster for trying needs; a production cluster brings its own (PLATFORM=existing). */
const singleInstance = { 'kube-score/ignore': `${Object.values(pinnedImages)},deployment-replicas` }

interface Mounted {
  path: string
  volume: k8s.Volume
  readOnly: boolean
}

const mountedBy = ({ config = {}, scratch = {} }: ProgramOptions): Mounted[] => [
  ...Object.entries(config).map(([path, from]) => ({ path, volume: configVolume(from), readOnly: true })),
  ...Object.entries({ '/tmp': '16Mi', ...scratch }).map(([path, sizeLimit]) => ({
    path,
    volume: { name: path.slice(1).replaceAll('/', '-'), emptyDir: { sizeLimit: quantity(sizeLimit) } },
    readOnly: false,
  })),
]

const probesOf = ({ ready, live }: ProgramOptions): Pick<k8s.Container, 'startupProbe' | 'livenessProbe' | 'readinessProbe'> => ({
  startupProbe: { httpGet: action(ready), periodSeconds: 1, timeoutSeconds: 3, failureThreshold: START_SECONDS },
  livenessProbe: {
    ...(live ? { httpGet: action(live) } : { tcpSocket: { port: k8s.IntOrString.fromString(ready.port) } }),
    periodSeconds: 10,
    timeoutSeconds: 5,
    failureThreshold: 6,
  },
  readinessProbe: { httpGet: action(ready), periodSeconds: 5, timeoutSeconds: 3 },
})

function containerOf({ name }: Owner, options: ProgramOptions, mounted: readonly Mounted[]): k8s.Container {
  const { image, args, env, ports, hostPorts = {}, lifecycle, resources } = options
  return {
    name,
    image,
    imagePullPolicy: 'IfNotPresent',
    args,
    ...(env && { env }),
    ports: Object.entries(ports).map(([port, containerPort]) => ({
      name: port,
      containerPort,
      ...(hostPorts[port] && { hostPort: hostPorts[port] }),
    })),
    ...probesOf(options),
    ...(lifecycle && { lifecycle }),
    securityContext: containerSecurity(),
    resources,
    volumeMounts: mounted.map(({ path, volume, readOnly }) => ({ name: volume.name, mountPath: path, ...(readOnly && { readOnly }) })),
  }
}

/** One pod of a program that is not ours, as hardened as ours. */
export function addProgram(scope: Construct, owner: Owner, options: ProgramOptions): void {
  const { namespace, checksum, api, pod } = options
  const mounted = mountedBy(options)
  make(k8s.KubeDeployment, scope, owner, {
    metadata: { name: owner.name, namespace, annotations: singleInstance },
    spec: {
      replicas: 1,
      selector: { matchLabels: ownPods(owner) },
      // The old one first: ports of the node and state in memory are had once.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: k8s.IntOrString.fromNumber(0), maxUnavailable: k8s.IntOrString.fromNumber(1) } },
      revisionHistoryLimit: 3,
      template: {
        metadata: { labels: labelsOf(owner), ...(checksum && { annotations: { 'fairlead.dev/config': checksum } }) },
        spec: {
          serviceAccountName: owner.name,
          automountServiceAccountToken: api ?? false,
          enableServiceLinks: false,
          securityContext: podSecurity(),
          containers: [containerOf(owner, options, mounted)],
          volumes: mounted.map(({ volume }) => volume),
          ...pod,
        },
      },
    },
  })
}
