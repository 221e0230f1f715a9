/** A client for an edge of the system graph. */
export type { Client } from './client.ts'
