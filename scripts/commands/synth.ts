import { describeSettings, writeManifests } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { defineCommand } from '../command.ts'

export const synth = defineCommand({
  name: 'synth',
  summary: 'Write the Kubernetes manifests of the system',
  description: `Writes the manifests of the system to dist/, one YAML file per chart. Settings come as environment variables.`,
  examples: [
    'npx fairlead synth',
    'HOST=acme.example.org IMAGE_REGISTRY=registry.example/acme npx fairlead synth',
    `PLATFORM=existing INGRESS_CLASS=nginx INGRESS_NAMESPACE=ingress-nginx MONITORING_NAMESPACE=monitoring TRACING_NAMESPACE=tracing \\
    OTLP_ENDPOINT=http://tempo.tracing:4317 npx fairlead synth`,
  ],
  details: async () => {
    const app = await loadApp().catch(() => undefined)
    return `\nSettings:\n${describeSettings(app?.system ?? { services: [] })}`
  },
  run: async () => {
    await writeManifests(await loadApp(), process.env)
    return 0
  },
})
