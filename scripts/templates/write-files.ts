import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CommandError } from '../terminal.ts'

/**
 * Writes new files below a folder, and never over one that is there.
 * @throws CommandError naming the first that is
 */
export async function writeFiles(folder: string, files: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content, { flag: 'wx' }).catch(error => {
      throw error.code === 'EEXIST' ? new CommandError(`${file} is there already, and stays as it is`) : error
    })
  }
}
