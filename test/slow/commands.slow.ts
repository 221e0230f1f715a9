import { execFileSync } from 'node:child_process'
import { describe, test } from 'vitest'
import { SLOW } from '../support/documented-commands.ts'
import { tryCommand } from '../support/try-command.ts'

const hasSchemathesis = (() => {
  try {
    execFileSync('schemathesis', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()
if (!hasSchemathesis) process.stderr.write('SKIPPED: npm run fuzz is not tried, for schemathesis is not installed\n')

describe('what the documents name', () => {
  for (const [command, trial] of Object.entries(SLOW))
    test.skipIf(command.includes('fuzz') && !hasSchemathesis)(`${command} works`, () => tryCommand(trial, { timeoutMs: 500_000 }), 510_000)
})
