import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { loadApp } from '../../scripts/app.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fairlead app-'))
  return () => rm(root, { recursive: true, force: true })
})

describe('loadApp', () => {
  test('is the app that infra/main.ts of the folder exports', async () => {
    expect((await loadApp()).system.services.length).toBeGreaterThan(0)
  })

  test('says in one line where it looked', async () => {
    await expect(loadApp(root)).rejects.toMatchObject({
      name: 'CommandError',
      message: `${root} has no infra/main.ts: run this in the folder of a Fairlead project`,
    })
  })

  test('says in one line that the file exports no app', async () => {
    await mkdir(join(root, 'infra'))
    await writeFile(join(root, 'infra/main.ts'), 'export const system = {}\n')
    await expect(loadApp(root)).rejects.toMatchObject({ name: 'CommandError', message: expect.stringContaining('exports no app') })
  })
})
