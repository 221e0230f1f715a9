import { isServerError } from '../../grpc/status.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import type { Convention } from '../convention.ts'
import { callOf } from './call.ts'

/** https://opentelemetry.io/docs/specs/semconv/rpc/grpc/ */
export function grpcConvention(metrics: Metrics): Convention {
  const { serverDuration, serverActive } = metrics.rpc()
  // A method that nobody has declared is the caller's text.
  const method = (ctx: Parameters<Convention['spanName']>[0]) => callOf(ctx).method?.name ?? '_OTHER'
  const code = (ctx: Parameters<Convention['spanName']>[0]) => callOf(ctx).reply?.code ?? 'UNKNOWN'
  return {
    spanName: method,
    attributes: ctx => ({ 'rpc.system.name': 'grpc', 'rpc.method': method(ctx) }),
    fault: ctx => (isServerError(code(ctx)) ? 'server' : code(ctx) === 'OK' ? 'none' : 'caller'),
    errorType: ctx => ctx.state.problem?.code ?? code(ctx),
    outcome: ctx => ({ 'rpc.response.status_code': code(ctx) }),
    duration: serverDuration,
    labels: ctx => ({
      rpc_system_name: 'grpc',
      rpc_method: method(ctx),
      rpc_response_status_code: code(ctx),
      error_type: isServerError(code(ctx)) ? code(ctx) : '',
    }),
    active: serverActive,
    line: ctx => ({ method: method(ctx), status: code(ctx), bytes: callOf(ctx).reply?.message?.length ?? 0 }),
  }
}
