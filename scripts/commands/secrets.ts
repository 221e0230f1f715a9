import { secretsOf } from '@fairlead/chassis'
import { settingsFor } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { type Cluster, openCluster } from '../cluster/cluster.ts'
import { lineOf, type Made } from '../cluster/database-secrets.ts'
import { ensureNamespaces } from '../cluster/namespaces.ts'
import { ensureSecrets, namespaceManifests, rotateSigningKey, type SecretsOptions } from '../cluster/secrets.ts'
import { defineCommand } from '../command.ts'
import { say } from '../terminal.ts'
import { SETTINGS, TARGET, targetOf } from './options.ts'

/** Names alone: what people read of a thing says more, e.g. the id of a key. */
export const outcomeOf = (context: string, made: readonly Made[]) => ({
  context,
  changed: made.map(({ kind, namespace, name }) => `${kind} ${namespace}/${name}`),
})

async function ensureAll(cluster: Cluster, options: SecretsOptions): Promise<Made[]> {
  await ensureNamespaces(cluster, namespaceManifests(options))
  return ensureSecrets(cluster, options)
}

async function rotateAll(cluster: Cluster, { system, settings }: SecretsOptions): Promise<Made[]> {
  const made: Made[] = []
  for (const { name, make } of system.services.flatMap(secretsOf))
    if (make === 'ed25519-jwk') made.push(await rotateSigningKey(cluster, name, settings, Math.floor(Date.now() / 1_000)))
  return made
}

export const secrets = defineCommand({
  name: 'secrets',
  summary: 'Make the Secrets that the manifests need',
  description: `Makes in a cluster what the manifests need and no file may hold: signing keys, passwords of the database, the certificate of
the ingress, and the public keys of the cluster's own token issuer. What is there stays; only what is derived is brought up to date.

${SETTINGS}`,
  examples: [
    'npx fairlead secrets --context kind-fairlead',
    'PLATFORM=bundled npx fairlead secrets --context NAME --rotate',
    'npx fairlead secrets --context kind-fairlead --json',
  ],
  options: command =>
    command
      .addOption(TARGET)
      .option('--rotate', 'add a signing key that is published at once and signs from ten minutes on')
      .option('--json', 'print the names of what was made or changed as JSON on standard output'),
  run: async ({ context: named, rotate, json }) => {
    const context = targetOf(named)
    const app = await loadApp()
    const cluster = openCluster(context)
    const options = { ...app, settings: settingsFor(context, process.env, app.system) }
    const made = rotate ? await rotateAll(cluster, options) : await ensureAll(cluster, options)
    if (json) process.stdout.write(`${JSON.stringify(outcomeOf(context, made), null, 2)}\n`)
    else for (const line of made.map(lineOf)) say(line)
    if (!json && made.length === 0 && !rotate) say('nothing to do: all is there')
    return 0
  },
})
