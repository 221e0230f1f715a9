import { randomBytes } from 'node:crypto'
import { databaseOf, type SystemDefinition } from '@fairlead/chassis'
import {
  DATABASE_CA,
  DATABASE_CA_FILE,
  databaseSecret,
  OWNER_CA_FILE,
  ownerSecret,
  POSTGRES,
  POSTGRES_PORT,
  POSTGRES_TLS,
  ROLES_SECRET,
} from '@fairlead/infra/tools'
import { textOf } from './brought-secrets.ts'
import { issueInternal } from './certificates.ts'
import type { Cluster } from './cluster.ts'

/** A thing that was made or brought up to date; never what is in it. */
export interface Made {
  kind: 'Secret' | 'ConfigMap'
  namespace: string
  name: string
  /** For people, e.g. `its URL`. */
  what: string
}

/** For people. */
export const lineOf = ({ kind, name, what }: Made): string => `${kind} ${name}: ${what}`

/** A Secret of the system, not yet in the cluster. */
export type MakeSecret = (name: string, stringData: Record<string, string>, type?: string) => Parameters<Cluster['create']>[0]

/** Passwords of roles, the certificate of their server, and URLs with them. Roles' Secret is the truth: a URL with another password is written anew. */
export async function ensureDatabaseSecrets(cluster: Cluster, system: SystemDefinition, namespace: string, secret: MakeSecret): Promise<Made[]> {
  const made: Made[] = []
  const note = (name: string, what: string) => made.push({ kind: 'Secret', namespace, name, what })
  const password = () => randomBytes(24).toString('base64url')
  if (await cluster.create(secret(POSTGRES, { password: password() }))) note(POSTGRES, "the superuser's password")
  const clients = system.services.filter(({ database }) => database)
  const names = clients.flatMap(({ name }) => [name, `${name}-owner`])
  const created = await cluster.create(secret(ROLES_SECRET, Object.fromEntries(names.map(name => [name, password()]))))
  const roles = await cluster.read({ apiVersion: 'v1', kind: 'Secret', metadata: { name: ROLES_SECRET, namespace } })
  const missing = names.filter(name => !textOf(roles, name))
  if (missing.length > 0) {
    const known = Object.fromEntries(Object.keys(roles?.data ?? {}).map(name => [name, textOf(roles, name) as string]))
    await cluster.apply(secret(ROLES_SECRET, { ...known, ...Object.fromEntries(missing.map(name => [name, password()])) }))
  }
  if (created || missing.length > 0) note(ROLES_SECRET, `passwords of ${(created ? names : missing).join(', ')}`)
  const passwords = await cluster.read({ apiVersion: 'v1', kind: 'Secret', metadata: { name: ROLES_SECRET, namespace } })
  const host = `${POSTGRES}.${namespace}`
  const tls = { apiVersion: 'v1', kind: 'Secret', metadata: { name: POSTGRES_TLS, namespace } }
  if (!(await cluster.read(tls))) {
    const { certificate, key, authority } = await issueInternal(host)
    const issued = secret(POSTGRES_TLS, { 'tls.crt': certificate, 'tls.key': key, [DATABASE_CA]: authority }, 'kubernetes.io/tls')
    if (await cluster.create(issued)) note(POSTGRES_TLS, `a certificate for ${host}`)
  }
  const authority = textOf(await cluster.read(tls), DATABASE_CA) ?? ''
  const filesIn = async (name: string) => {
    const known = await cluster.read({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace } })
    return { url: textOf(known, 'url'), ca: textOf(known, DATABASE_CA) }
  }
  const isForeign = (url: string | undefined) => url !== undefined && new URL(url).hostname !== host
  for (const service of clients) {
    const own = await filesIn(databaseSecret(service))
    const urlOf = (role: string, caFile: string) =>
      `postgres://${role}:${textOf(passwords, role)}@${host}:${POSTGRES_PORT}/${databaseOf(service)}?sslmode=verify-full&sslrootcert=${caFile}`
    const ours = (url: string) => ({ url, [DATABASE_CA]: authority })
    const wanted: Record<string, Record<string, string>> = {
      [databaseSecret(service)]: ours(urlOf(service.name, DATABASE_CA_FILE)),
      // Somebody's own database, of which one role is known, is migrated by that one.
      [ownerSecret(service)]: own.url !== undefined && isForeign(own.url) ? { url: own.url } : ours(urlOf(`${service.name}-owner`, OWNER_CA_FILE)),
    }
    for (const [name, files] of Object.entries(wanted)) {
      const known = await filesIn(name)
      if (isForeign(known.url) || (known.url === files.url && known.ca === files[DATABASE_CA])) continue
      await cluster.apply(secret(name, files))
      note(name, 'its URL')
    }
  }
  return made
}
