// Loaded before the server, as OpenTelemetry's guides tell: the SDK with the order service's exporter settings, and every
// instrumentation with its defaults. Those of frameworks that are not loaded do nothing. There is none for NestJS 12 itself; it is
// seen through Express.
import { register } from 'node:module'
import { FastifyOtelInstrumentation } from '@fastify/otel'
import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { ExpressInstrumentation } from '@opentelemetry/instrumentation-express'
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http'
import { KoaInstrumentation } from '@opentelemetry/instrumentation-koa'
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg'
import { AlwaysOnSampler, BatchSpanProcessor, ParentBasedSampler, TracerProvider } from '@opentelemetry/sdk-trace'

register('@opentelemetry/instrumentation/hook.mjs', import.meta.url)

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())

const tracerProvider = new TracerProvider({
  sampler: new ParentBasedSampler({ root: new AlwaysOnSampler() }),
  spanProcessors: [
    new BatchSpanProcessor({
      exporter: new OTLPTraceExporter({ url: `${process.env.OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces`, timeoutMillis: 2_000, concurrencyLimit: 2 }),
      maxQueueSize: 4_096,
      maxExportBatchSize: 512,
      scheduledDelayMillis: 1_000,
      exportTimeoutMillis: 2_000,
    }),
  ],
})
trace.setGlobalTracerProvider(tracerProvider)

registerInstrumentations({
  tracerProvider,
  instrumentations: [
    new HttpInstrumentation(),
    new PgInstrumentation(),
    new KoaInstrumentation(),
    new ExpressInstrumentation(),
    new FastifyOtelInstrumentation({ registerOnInitialization: true }),
  ],
})
