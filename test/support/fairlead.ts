import { resolve } from 'node:path'
import { project } from './acme.ts'
import { type Ended, type RunOptions, runNode } from './run-node.ts'

/** Runs a command as the team of acme does, in its repository. */
export const fairlead = (args: string[], options: RunOptions = {}): Promise<Ended> =>
  runNode([resolve('scripts/fairlead.mjs'), ...args], { cwd: project.root, ...options })
