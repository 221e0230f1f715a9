import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { SystemDefinition } from '@fairlead/chassis'
import { CommandError } from './terminal.ts'

/** What a command needs of the app in whose folder it runs. */
export interface App {
  system: SystemDefinition
}

const APP = 'infra/system.ts'

/** @throws CommandError where there is no app */
export async function loadApp(): Promise<App> {
  const file = resolve(APP)
  if (!existsSync(file)) throw new CommandError(`${process.cwd()} has no ${APP}: run this in the folder of a Fairlead project`)
  return await import(pathToFileURL(file).href)
}
