import { describe, test } from 'vitest'
import { ON_A_CLUSTER } from '../support/documented-commands.ts'
import { tryCommand } from '../support/try-command.ts'
import { context } from './support/target.ts'

describe('what the documents name', () => {
  test.each(Object.entries(ON_A_CLUSTER))('%s works', (_, trial) => tryCommand(trial, { context, timeoutMs: 280_000 }))
})
