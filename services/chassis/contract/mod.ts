/** What a team describes its services with, and what every floor knows of that. It loads zod and uuid alone. */
export { ACCESS_TOKEN, jwksOperation, type TokenRealm } from './access-token.ts'
export { CallError } from './call-error.ts'
export { parseCalleePlace } from './callee-place.ts'
export { calleesOf, portsBetween } from './connections.ts'
export { type Answer, type Contract, defineContract, type Input, isIdempotent, type Operation, type Outgoing, strict } from './contract.ts'
export { aborted, createDeadline, DEADLINE_HEADER, type Deadline, unlessAborted } from './deadline.ts'
export { DefinitionError } from './definition-error.ts'
export { type DnsServer, describeDnsServer, parseDnsServer } from './dns-server.ts'
export { Failure, type FailureKind, type FailureOptions, invalidRequest, overloaded, tooManyRequests, unavailable } from './failure.ts'
export {
  ADMIN_PORT,
  type CounterAlert,
  callersOf,
  DEFAULT_MAX_ATTEMPTS,
  DEFAULT_POOL_SIZE,
  DEFAULT_RESOURCES,
  databaseOf,
  defineService,
  defineSystem,
  type Edge,
  type GrpcDefinition,
  hasOutbox,
  localAdminPort,
  type MetricPanel,
  type ProtoNumbers,
  podsHost,
  portOf,
  portsOf,
  type Resources,
  type ServiceDefinition,
  type Slo,
  type SystemDefinition,
  sendsCommands,
} from './graph.ts'
export { REPLAYED_HEADER } from './idempotency-key.ts'
export { id, newId, timestamp } from './ids.ts'
export { type Implementation, implement, type Started, type Wiring } from './implement.ts'
export { defineJourney, type Journey, type JourneyRecorder, type JourneyStep } from './journey.ts'
export { MAX_ARRIVING_BODIES, MAX_BODY_BYTES, MAX_HEAD_BYTES, RETRY_RATIO } from './limits.ts'
export { openApiOperation, openApiOperationOf, serveOpenApi } from './openapi.ts'
export { encodeCursor, pageQuery } from './page.ts'
export { type FreshKind, fill, type Given, type Ref, type Source, sourceOf } from './reference.ts'
export { isKept, KEPT_ATTRIBUTE, KEPT_SHARE } from './sampling.ts'
export { type Scope, within } from './scope.ts'
export { type SecretDefinition, type SecretFolder, secretsOf } from './secrets.ts'
export { ConfigError, count, flag, isFlag, list, loadConfig, milliseconds, port, seconds, takesOf, text } from './settings.ts'
export { CLOSE_MS, FINISH_MS, KEEP_ALIVE_MS, LINGER_MS, RETRY_BACKOFF } from './timing.ts'
export {
  type ForeignIssuer,
  fetchesUserKeys,
  foreignIssuerOf,
  issuesTokens,
  keysCalleeOf,
  servesUsers,
  type TokenAlgorithm,
} from './users.ts'
export { edgeVariables, settingVariable } from './variables.ts'
export { servesWorkloads, workloadAudience, workloadSubject } from './workload.ts'
