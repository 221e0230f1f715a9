/** What handlers are written against. */
export { createPlaces, type PlaceLimits, type Places } from './places.ts'
export { ProblemError } from './problem.ts'
export type { Call, Handler, Handlers } from './routes.ts'
