import { buildCharts, imageReferences, loadSettings } from '@fairlead/infra'
import { App, YamlOutputType } from 'cdk8s'
import { system } from './system.ts'

const settings = loadSettings({ NAMESPACE: 'acme', HOST: 'acme.localhost', TLS_SECRET: 'acme-tls', ...process.env })
const app = new App({ yamlOutputType: YamlOutputType.FILE_PER_CHART })
buildCharts(app, { system, settings, images: await imageReferences(system, settings) })
app.synth()
