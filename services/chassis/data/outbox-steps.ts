import { channel } from 'node:diagnostics_channel'

/** The places of a delivery between which a crash must lose nothing, in the order in which a command passes them. */
export const OUTBOX_STEPS = ['answered', 'settled', 'removed', 'committed'] as const

const steps = channel('fairlead.outbox')

/** Tells whoever listens that a step is reached, e.g. `stock.reserve answered`. Nobody does in production; a test kills the process here. */
export const outboxStep = (command: string, step: (typeof OUTBOX_STEPS)[number]): void => {
  if (steps.hasSubscribers) steps.publish(`${command} ${step}`)
}
