// Names of environment variables that whoever starts a service writes and the service reads.

const prefixOf = (service: string) => service.toUpperCase().replaceAll('-', '_')

/** Environment variables that tell a caller about a callee: the file of its workload token, and where the callee is when not at `podsHost`: `host`, `host:port` or `srv:name`. */
export const edgeVariables = (callee: string): { identityFile: string; host: string } => ({
  identityFile: `${prefixOf(callee)}_IDENTITY_FILE`,
  host: `${prefixOf(callee)}_HOST`,
})

/** The variable of one service's setting where all services are started, made or deployed; the process itself has it without the prefix. */
export const settingVariable = (service: string, setting: string): string => `${prefixOf(service)}_${setting}`

/** The variable with the folder of a secret. */
export const secretVariable = (secret: string): string => `${prefixOf(secret)}_DIR`

const TAKEN = [
  'HOST',
  'PORT',
  'ADMIN_PORT',
  'GRPC_PORT',
  'DATABASE_URL_FILE',
  'DATABASE_POOL_SIZE',
  'DATABASE_WAIT_MS',
  'NAMESPACE',
  'TRUSTED_HOPS',
  'INGRESS_TRACES',
  'DISCOVERY',
  'LINGER_MS',
  'LOG_LEVEL',
  'HOME',
  'PATH',
  'TZ',
]

/** Whether a name already means something to the chassis, the graph, Node.js or Kubernetes. */
export const isTaken = (name: string): boolean =>
  TAKEN.includes(name) || /^(AUTH|DISCOVERY|WORKLOAD|OTEL|NODE|NPM|KUBERNETES)_|_IDENTITY_FILE$/.test(name)
