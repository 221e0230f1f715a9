import { hostname, userInfo } from 'node:os'
import { kubectl, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import type { Cluster, Live, Reference } from './cluster.ts'
import { ApiError } from './rest.ts'

/** Who may change the system's objects now (https://kubernetes.io/docs/concepts/architecture/leases). */
const NAME = 'fairlead-deploy'
/** After this time without a sign of life a holder counts as gone. Clocks that differ by less do no harm. */
const LEASE_SECONDS = 60
const RENEW_MS = 15_000

/** With microseconds, which a Lease insists on. */
const now = (): string => new Date().toISOString().replace('Z', '000Z')

function nameOfUser(): string {
  try {
    return userInfo().username
  } catch {
    // A user id without an entry, as containers have it.
    return `user ${process.getuid?.() ?? 'unknown'}`
  }
}

export const leaseIn = (namespace: string): Reference => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name: NAME, namespace },
})

interface Term {
  holderIdentity: string
  acquireTime: string
}

const isHeldBy = (live: Live | undefined, { holderIdentity, acquireTime }: Term): boolean =>
  live?.spec?.holderIdentity === holderIdentity && Date.parse(live.spec.acquireTime) === Date.parse(acquireTime)

const hasEnded = ({ spec = {} }: Live): boolean =>
  !spec.holderIdentity || Date.parse(spec.renewTime) + (spec.leaseDurationSeconds ?? LEASE_SECONDS) * 1_000 < Date.now()

/** A change that fails with 409 when somebody else was faster. */
const change = (cluster: Cluster, live: Live, spec: object): Promise<void> =>
  cluster.patch(live, { metadata: { resourceVersion: live.metadata.resourceVersion }, spec })

function heldBy(cluster: Cluster, { spec, metadata }: Live): CommandError {
  return new CommandError(
    `another deploy by ${spec.holderIdentity} runs since ${spec.acquireTime}; it was last heard of at ${spec.renewTime}`,
    toRun(kubectl(cluster.context, `-n ${metadata.namespace} get lease ${NAME} -o yaml`)),
  )
}

async function take(cluster: Cluster, namespace: string, term: Term): Promise<void> {
  const labels = { 'app.kubernetes.io/name': NAME, 'app.kubernetes.io/managed-by': 'fairlead' }
  const reference = leaseIn(namespace)
  const spec = { ...term, renewTime: term.acquireTime, leaseDurationSeconds: LEASE_SECONDS }
  if (await cluster.create({ ...reference, metadata: { ...reference.metadata, labels }, spec } as never)) return
  const live = await cluster.read(reference)
  if (!live) throw new CommandError(`Lease ${namespace}/${NAME} was deleted a moment ago: try again`)
  if (!hasEnded(live)) throw heldBy(cluster, live)
  await change(cluster, live, spec).catch(async error => {
    if (!(error instanceof ApiError) || error.status !== 409) throw error
    throw heldBy(cluster, (await cluster.read(reference)) ?? live)
  })
}

/**
 * Does something while nobody else does the same to a system. The work's signal fires when somebody has taken over: they were told that
 * this run was gone.
 * @throws CommandError naming who holds the lease, and since when
 */
export async function withLease<T>(cluster: Cluster, namespace: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const term: Term = { holderIdentity: `${nameOfUser()}@${hostname()} (process ${process.pid})`, acquireTime: now() }
  await take(cluster, namespace, term)
  const lost = new AbortController()
  const renew = async () => {
    const live = await cluster.read(leaseIn(namespace))
    if (live && isHeldBy(live, term)) await change(cluster, live, { renewTime: now() })
    else lost.abort(live?.spec?.holderIdentity ? heldBy(cluster, live) : new CommandError(`Lease ${namespace}/${NAME} was taken away`))
  }
  // An API server that does not answer now may do so next time.
  const timer = setInterval(() => void renew().catch(() => {}), RENEW_MS)
  try {
    return await work(AbortSignal.any([signal, lost.signal]))
  } finally {
    clearInterval(timer)
    const live = await cluster.read(leaseIn(namespace)).catch(() => undefined)
    if (live && isHeldBy(live, term)) await change(cluster, live, { holderIdentity: null }).catch(() => {})
  }
}
