import { existsSync, realpathSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { App } from '@fairlead/infra/tools'
import { loadError } from './load-error.ts'
import { CommandError } from './terminal.ts'

const APP = join('infra', 'main.ts')

/**
 * The app of the project in a folder.
 * @param folder @default that of this process, where npm runs a project's scripts
 * @throws CommandError where there is no app, or a file of it cannot be loaded
 */
export async function loadApp(folder = process.cwd()): Promise<App> {
  const file = resolve(folder, APP)
  if (!existsSync(file)) throw new CommandError(`${folder} has no ${APP}: run this in the folder of a Fairlead project`)
  const { app } = (await import(pathToFileURL(file).href).catch(error => {
    throw error instanceof Error ? loadError(error, realpathSync(folder)) : error
  })) as { app?: App }
  if (!app?.system) throw new CommandError(`${file} exports no app: export const app = defineApp({ ... })`)
  return app
}

/** The nearest folder that has an app, from one upwards: a command called in services/loan is for the project around it. */
export function projectAround(folder: string): string | undefined {
  if (existsSync(join(folder, APP))) return folder
  const above = dirname(folder)
  return above === folder ? undefined : projectAround(above)
}
