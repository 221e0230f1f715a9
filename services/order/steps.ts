import { channel } from 'node:diagnostics_channel'

/** The places between which a crash must lose nothing, in the order in which an order passes them; the outbox has its own between them. */
export const SAGA_STEPS = ['order-committed', 'order-moved', 'cancel-moved', 'cancel-enqueued', 'cancel-committed'] as const

export type SagaStep = (typeof SAGA_STEPS)[number]

const steps = channel('fairlead.saga')

/** Tells whoever listens that a step is reached. Nobody does in production; a test kills the process here. */
export const sagaStep = (step: SagaStep): void => {
  if (steps.hasSubscribers) steps.publish(step)
}
