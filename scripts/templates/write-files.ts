import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CommandError } from '../terminal.ts'

/**
 * Writes new files below a folder, and never over one that is there.
 * @throws CommandError naming the first that is, before anything is written
 */
export async function writeFiles(folder: string, files: Record<string, string>): Promise<void> {
  for (const path of Object.keys(files)) {
    const file = join(folder, path)
    if (existsSync(file)) throw new CommandError(`${file} is there already, and stays as it is`)
  }
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content, { flag: 'wx' })
  }
}
