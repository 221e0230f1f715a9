/** From a system graph to what runs it. */
export { type App, type AppOptions, defineApp } from './app.ts'
export { imageReferences } from './image/image.ts'
export type { Project } from './project.ts'
export { loadSettings, type Settings } from './settings.ts'
export { buildCharts, type Manifest, synthesize } from './synth.ts'
