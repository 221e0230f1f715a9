import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { App } from '@fairlead/infra/tools'
import { CommandError } from './terminal.ts'

const APP = join('infra', 'main.ts')

/**
 * The app of the project in a folder.
 * @param folder @default that of this process, where npm runs a project's scripts
 * @throws CommandError where there is no app
 */
export async function loadApp(folder = process.cwd()): Promise<App> {
  const file = resolve(folder, APP)
  if (!existsSync(file)) throw new CommandError(`${folder} has no ${APP}: run this in the folder of a Fairlead project`)
  const { app } = (await import(pathToFileURL(file).href)) as { app?: App }
  if (!app?.system) throw new CommandError(`${file} exports no app: export const app = defineApp({ ... })`)
  return app
}
