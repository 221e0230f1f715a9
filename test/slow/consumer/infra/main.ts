import { imageReferences } from '@fairlead/infra/image/image'
import { loadSettings } from '@fairlead/infra/settings'
import { buildCharts } from '@fairlead/infra/synth'
import { App, YamlOutputType } from 'cdk8s'
import { system } from './system.ts'

const settings = loadSettings({ NAMESPACE: 'acme', HOST: 'acme.localhost', TLS_SECRET: 'acme-tls', ...process.env })
const app = new App({ yamlOutputType: YamlOutputType.FILE_PER_CHART })
buildCharts(app, { system, settings, images: await imageReferences(system, settings) })
app.synth()
