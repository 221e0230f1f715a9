/** A client for an edge of the system graph. */
export type { Client, ProblemAnswer } from './client.ts'
