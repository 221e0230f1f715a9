/** Who sends a request: tokens of users and workloads, and the keys that they are verified by. */
export { createAccessTokenVerifier, type Principal, unauthorized, type Verifier } from './auth.ts'
export { createJwksCache, type JwksCache, type KeyLookup } from './jwks.ts'
export { type Watched, watchPath } from './watched-file.ts'
export { openWorkloadVerifier } from './workload-identity.ts'
