import { join } from 'node:path'
import { foreignIssuerOf } from '@fairlead/chassis'
import { ISSUER_STAND_IN } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { defineCommand } from '../command.ts'
import { readUserIssuer } from '../local/user-issuer.ts'
import { toRun } from '../remedy.ts'
import { CommandError, usageError } from '../terminal.ts'

/** Whatever an issuer calls its users, e.g. `auth0|ada`. */
const NAME = /^(?!-)[^\p{C}]{1,64}$/u

export const token = defineCommand({
  name: 'token',
  summary: 'Print an access token of a user, where a stand-in issues them',
  description: `Prints an access token, good for an hour, of a user whom an issuer outside the system would know. On this machine and on kind
a key of this machine's stands in for that issuer; nothing else believes it.`,
  examples: ['npx fairlead token ada', 'npx fairlead token ada --data-dir .data/second'],
  options: command =>
    command.argument('<user>', "the token's subject").option('--data-dir <folder>', 'where fairlead start keeps its data, keys and logs', '.data'),
  run: async ({ dataDir }, { words: [user] }) => {
    if (!NAME.test(user)) throw usageError(`${user || "''"} is no name of a user: it takes 1 to 64 printable characters, the first no dash`)
    const { system } = await loadApp()
    const foreign = foreignIssuerOf(system)
    if (!foreign) throw new CommandError('the users of this system do not come from elsewhere: log in at the service that issues their tokens')
    const issuer = await readUserIssuer(join(dataDir, ISSUER_STAND_IN), foreign)
    if (!issuer) throw new CommandError(`nobody stands in for ${foreign.issuer} yet`, toRun('npx fairlead start', 'npx fairlead up'))
    process.stdout.write(`${await issuer.tokenOf(user)}\n`)
    return 0
  },
})
