/** A client for an edge of the system graph. */
export type { ProblemAnswer } from './answers.ts'
export type { Client } from './client.ts'
