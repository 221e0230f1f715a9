import { loadSettings } from '@fairlead/infra'
import { WebService } from '@fairlead/infra/constructs'
import { App, Chart } from 'cdk8s'
import { hello } from '../services/hello/service.ts'
import { system } from './system.ts'

const settings = loadSettings(process.env, system)
const chart = new Chart(new App(), 'own')
const { deployment } = new WebService(chart, 'hello', { system, service: hello, settings, version: '1.2.3', image: 'registry.example/hello:1.2.3' })
deployment.metadata.addAnnotation('team', 'blue')
process.stdout.write(JSON.stringify(chart.toJson()))
