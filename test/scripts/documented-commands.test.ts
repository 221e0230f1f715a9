import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { documentedCommands, LIGHT, TRIALS } from '../support/documented-commands.ts'
import { copyRepository } from '../support/repository-copy.ts'
import { tryCommand } from '../support/try-command.ts'

test('every command that the documents name is tried somewhere, and test/support/documented-commands.ts says how', async () => {
  const commands = await documentedCommands()
  expect(commands.length).toBeGreaterThan(20)
  expect(Object.keys(TRIALS).sort()).toEqual(commands)
  for (const trial of Object.values(TRIALS)) if ('by' in trial) expect(existsSync(trial.by), trial.by).toBe(true)
})

describe('what the documents name', () => {
  let copy: string
  beforeAll(async () => {
    copy = await copyRepository()
  })
  afterAll(() => rm(copy, { recursive: true, force: true }))

  test.each(Object.entries(LIGHT))('%s works', (_, trial) => tryCommand(trial, { cwd: copy }), 120_000)
})
