import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { system } from './acme/infra/system.ts'
import { EXISTING as PLATFORM } from './existing-platform.ts'

/** The system of the kit's own tests. It has nothing in common with the one of this repository, so that the two change apart. */

export { booking } from './acme/services/booking/service.ts'
export { hello } from './acme/services/hello/service.ts'
export { stock } from './acme/services/stock/service.ts'
export { system }

/** Its repository: the sources of an image, and the runbook of its own alert. */
export const project = { system, root: resolve('test/support/acme'), version: '1.2.3' }

/** Its environment where a platform is there already. */
export const EXISTING = { ...PLATFORM, USERS_JWKS_CIDR: '203.0.113.0/24' }

/** Of the kit, or of its own repository. @returns the file behind `docs/runbooks/NAME.md`, if there is one */
export const runbookAt = (path: string): string | undefined =>
  [join('infra/kit', path.replace(/^docs\//, '')), join(project.root, path)].find(file => existsSync(file))

export const images = { hello: 'registry.example/hello:1.0.0', stock: 'registry.example/stock:1.0.0', booking: 'registry.example/booking:1.0.0' }
