/** From the environment to a service that runs, drains on SIGTERM, and migrates its database. */
export { commonSettings, workloadConfig } from './config.ts'
export { startService } from './start.ts'
