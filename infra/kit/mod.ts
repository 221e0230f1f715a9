/** From a system graph to what runs it. */
export { imageReferences } from './image/image.ts'
export { type Project, projectIn } from './project.ts'
export { loadSettings, type Settings } from './settings.ts'
export { buildCharts, type Manifest, type SynthOptions, synthesize } from './synth.ts'
