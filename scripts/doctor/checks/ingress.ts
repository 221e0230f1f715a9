import { checkServerIdentity, connect, type PeerCertificate } from 'node:tls'
import type { Contract, ServiceDefinition } from '@fairlead/chassis'
import { CERTIFICATE_DAYS, certificateSecret, entryServices } from '@fairlead/infra/tools'
import { request } from 'undici'
import { ingressAgent } from '../../cluster/ingress-url.ts'
import { type Remedy, toRun } from '../../remedy.ts'
import { type Check, Fault, NotHere } from '../check.ts'
import type { Context } from '../context.ts'

const ANSWER_MS = 10_000
const DAY_MS = 86_400_000

const MEANINGS: Record<number, string> = {
  404: 'it has no route',
  429: 'this machine has too many requests in flight',
  502: 'the pod refuses the ingress',
  503: 'no pod is ready, or its route has not been read',
}

/** The way in, as a client has it. */
export const ingressChecks = (context: Context): Check[] => [
  ...entryServices(context).map((service): Check => ({ name: `ingress to ${service.name}`, run: () => isRouted(context, service) })),
  { name: 'ingress keeps what is private', run: () => privateStaysPrivate(context) },
  { name: 'certificate', run: () => certificateIsGood(context) },
]

/** Paths of operations that can be asked without a body or a token: first those that need no made-up parameter. */
const openPaths = (contract: Contract): string[] =>
  Object.values(contract)
    .filter(({ method, auth, internal }) => method === 'GET' && auth === 'none' && !internal)
    .map(({ path }) => path)
    .sort((a, b) => Number(a.includes('{')) - Number(b.includes('{')))

const withMadeUp = (path: string): string => path.replaceAll(/\{\w+\}/g, 'x')

interface Answer {
  status: number
  /** Whether it is a problem as services write it: what stands in front of them writes none. */
  isProblem: boolean
}

async function get({ baseUrl, settings, kubectl, fairlead, blame }: Context, path: string): Promise<Answer> {
  const dispatcher = ingressAgent(settings.HOST)
  try {
    const signal = AbortSignal.timeout(ANSWER_MS)
    const answer = await request(`${baseUrl}${path}`, { dispatcher, signal, headers: { host: settings.HOST } })
    await answer.body.dump()
    return { status: answer.statusCode, isProblem: String(answer.headers['content-type']).startsWith('application/problem+json') }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw await blame(
      `nobody answers at ${baseUrl} (${code ?? message})`,
      ({ kind, metadata }) => metadata.namespace === settings.INGRESS_NAMESPACE && kind !== 'ConfigMap',
      toRun(kubectl(`-n ${settings.INGRESS_NAMESPACE} get pods`), fairlead('deploy')),
    )
  } finally {
    await dispatcher.destroy()
  }
}

async function isRouted(context: Context, { name, contract }: ServiceDefinition): Promise<string> {
  const { settings, baseUrl, blame, fairlead } = context
  const [template] = openPaths(contract)
  if (!template) throw new NotHere(`${name} has no public GET operation without a token`)
  const path = withMadeUp(template)
  const { status, isProblem } = await get(context, path)
  // A service that does not know a made-up parameter was reached all the same.
  if (status === 200 || (path !== template && isProblem && status < 500 && status !== 429)) return `GET ${path} ${status}`
  throw await blame(
    `GET ${baseUrl}${path} answered ${status}: ${MEANINGS[status] ?? 'the service fails'}`,
    ({ kind, metadata }) =>
      metadata.name === name && metadata.namespace === settings.NAMESPACE && ['Ingress', 'HTTPRoute', 'Service', 'NetworkPolicy'].includes(kind),
    toRun(fairlead(`logs ${name}`)),
  )
}

async function privateStaysPrivate(context: Context): Promise<string> {
  const closed = context.system.services.flatMap(({ contract }) =>
    Object.values(contract)
      .filter(({ auth, internal }) => auth === 'workload' || internal)
      .map(({ path }) => withMadeUp(path)),
  )
  const paths = [...new Set([...closed, '/metrics', '/livez', '/readyz'])]
  for (const path of paths) {
    const { status } = await get(context, path)
    if (status !== 404)
      throw await context.blame(
        `${path} answered ${status} through the ingress: it is not for everybody`,
        ({ kind }) => kind === 'Ingress' || kind === 'HTTPRoute',
        toRun(context.kubectl(`-n ${context.settings.NAMESPACE} describe ingress`)),
      )
  }
  return `${paths.length} paths are not routed`
}

async function certificateIsGood({ tlsAddress, settings, cluster, fairlead }: Context): Promise<string> {
  if (!tlsAddress) throw new NotHere('no TLS address is known (--url https://...)')
  const certificate = await certificateOf(tlsAddress, settings.HOST, toRun(fairlead('status')))
  const wrong = checkServerIdentity(settings.HOST, certificate)
  const remedy = {
    ...(settings.TLS === 'local' && { commands: [fairlead('secrets')] }),
    page: `${settings.RUNBOOKS}/certificate-expires.md`,
  }
  const { name, namespace } = certificateSecret(settings)
  const secret = `Secret ${namespace}/${name}`
  if (wrong) {
    const there = await cluster.exists({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace } })
    throw new Fault(
      `the certificate of ${tlsAddress} is for ${certificate.subject?.CN ?? 'nobody'}, not for ${settings.HOST}: ${there ? `${secret} is of another host` : `${secret} is not there`}`,
      remedy,
    )
  }
  const days = (Date.parse(certificate.valid_to) - Date.now()) / DAY_MS
  if (days < CERTIFICATE_DAYS.ticket)
    throw new Fault(`the certificate in ${secret} ${days < 0 ? 'has expired' : 'expires'} on ${certificate.valid_to}`, remedy)
  return `for ${settings.HOST}, good for ${Math.floor(days)} days`
}

/** Whatever is served, trusted or not. */
const certificateOf = (address: string, servername: string, remedy: Remedy): Promise<PeerCertificate> =>
  new Promise((resolve, reject) => {
    const [host, port] = address.split(/:(?=\d+$)/)
    const socket = connect(
      { host: host?.replace(/^\[|\]$/g, ''), port: Number(port), servername, rejectUnauthorized: false, timeout: ANSWER_MS },
      () => {
        resolve(socket.getPeerCertificate())
        socket.destroy()
      },
    )
    const fail = (reason: string) => {
      socket.destroy()
      reject(new Fault(`nobody speaks TLS at ${address} (${reason})`, remedy))
    }
    socket.on('timeout', () => fail(`no answer in ${ANSWER_MS / 1_000} s`))
    socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message))
  })
