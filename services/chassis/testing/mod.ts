/** What a team's tests use, whatever runs them: a service in the process of the test, and stand-ins for those that it calls. */
export { type RunningService, type RunOptions, runService } from './run-service.ts'
export { type StandIn, standIn } from './stand-in.ts'
export { userToken, workloadToken } from './tokens.ts'
