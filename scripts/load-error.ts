import { dirname, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CommandError } from './terminal.ts'

/** What Node.js puts above the stack of a SyntaxError. */
const PLACE = /^(file:\/\/.+|\/.+|[A-Za-z]:\\.+):(\d+)$/
const MISSING = /^Cannot find (module|package) '(.+)' imported from (.+)$/
const NOT_EXPORTED = 'ERR_PACKAGE_PATH_NOT_EXPORTED'

/**
 * One line about a file of a project that Node.js cannot load: what it imports that is not there, or where its syntax is wrong.
 * @param folder the project's, without symbolic links
 * @returns any other error as it is: of what a file does when it runs, or of a file that is not the project's
 */
export function loadError(error: Error, folder: string): Error {
  const own = (place: string): string | undefined => {
    const path = relative(folder, place.startsWith('file:') ? fileURLToPath(place) : place)
    return path.startsWith('..') || path.split(sep).includes('node_modules') ? undefined : path
  }
  const { code, url } = error as NodeJS.ErrnoException & { url?: string }
  const [, what, name = '', importer = ''] = MISSING.exec(error.message) ?? []
  if (code === 'ERR_MODULE_NOT_FOUND' && own(importer)) {
    if (what === 'package') return new CommandError(`${own(importer)} imports ${name}, which is not installed`)
    const path = relative(dirname(importer), url ? fileURLToPath(url) : name)
    return new CommandError(`${own(importer)} imports ${path.startsWith('.') ? path : `./${path}`}, which is not there`)
  }
  const [message = '', by] = error.message.split(/ imported from (?=[^ ]+$)/)
  if (code === NOT_EXPORTED && by && own(by)) return new CommandError(`${own(by)}: ${message.replace(/ in \S+$/, '')}`)
  const [, file = '', line] = PLACE.exec(error.stack?.split('\n')[0] ?? '') ?? []
  return error.name === 'SyntaxError' && own(file) ? new CommandError(`${own(file)}:${line}: ${error.message}`) : error
}
