/** Share of the traces that are kept although nothing is wrong with them. */
export const KEPT_SHARE = 0.1

/** Tells the tail sampler what `isKept` said, so that both decide alike: exemplars lead to traces that are there. */
export const KEPT_ATTRIBUTE = 'sampling.kept'

/**
 * Whether a trace belongs to the share that is kept although nothing is wrong with it: the same answer in every process,
 * because it depends on the trace id's last 7 bytes alone (W3C level 2 says that these are random).
 */
export const isKept = (traceId: string, share: number): boolean => Number.parseInt(traceId.slice(-13), 16) < share * 2 ** 52
