/** From a system graph to what runs it. */
export { type App, type AppOptions, defineApp } from './app.ts'
export { imageReferences } from './image/image.ts'
export type { Manifest, Overlay } from './objects/manifest.ts'
export type { Project } from './settings/project.ts'
export { loadSettings, type Settings } from './settings/settings.ts'
export { buildCharts, synthesize } from './synth/synth.ts'
