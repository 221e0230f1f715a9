import { secretsOf } from '@fairlead/chassis'
import { settingsFor } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { openCluster } from '../cluster/cluster.ts'
import { ensureNamespaces } from '../cluster/namespaces.ts'
import { ensureSecrets, namespaceManifests, rotateSigningKey } from '../cluster/secrets.ts'
import { defineCommand } from '../command.ts'
import { say } from '../terminal.ts'
import { SETTINGS, TARGET, targetOf } from './options.ts'

export const secrets = defineCommand({
  name: 'secrets',
  summary: 'Make the Secrets that the manifests need',
  description: `Makes in a cluster what the manifests need and no file may hold: signing keys, passwords of the database, the certificate of
the ingress, and the public keys of the cluster's own token issuer. What is there stays; only what is derived is brought up to date.

${SETTINGS}`,
  examples: ['npx fairlead secrets --context kind-fairlead', 'PLATFORM=bundled npx fairlead secrets --context NAME --rotate'],
  options: command => command.addOption(TARGET).option('--rotate', 'add a signing key that is published at once and signs from ten minutes on'),
  run: async ({ context: named, rotate }) => {
    const context = targetOf(named)
    const app = await loadApp()
    const cluster = openCluster(context)
    const options = { ...app, settings: settingsFor(context, process.env, app.system) }
    if (rotate) {
      for (const { name, make } of app.system.services.flatMap(secretsOf))
        if (make === 'ed25519-jwk') say(await rotateSigningKey(cluster, name, options.settings, Math.floor(Date.now() / 1_000)))
      return 0
    }
    await ensureNamespaces(cluster, namespaceManifests(options))
    const said = await ensureSecrets(cluster, options)
    for (const line of said) say(line)
    if (said.length === 0) say('nothing to do: all is there')
    return 0
  },
})
