import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeEach, describe, expect, test } from 'vitest'
import { loadApp } from '../../scripts/app.ts'
import { project } from '../support/acme.ts'
import { fairlead } from '../support/fairlead.ts'

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

test('a relative KUBECONFIG is one of the folder where a command is called, not of the project around it', async () => {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'away', cluster: { server: 'https://127.0.0.1:9' } }],
    contexts: [{ name: 'mine', context: { cluster: 'away', user: 'nobody' } }],
    users: [{ name: 'nobody', user: {} }],
  }
  await mkdir(join(root, 'infra'))
  await writeFile(join(root, 'infra/main.ts'), `export { app } from ${JSON.stringify(pathToFileURL(join(project.root, 'infra/main.ts')).href)}\n`)
  const cwd = join(root, 'services')
  await mkdir(cwd)
  await writeFile(join(cwd, 'mine.json'), JSON.stringify(config))
  const ended = await fairlead(['status', '--context', 'mine'], { cwd, env: { KUBECONFIG: 'mine.json' } })
  expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining("the API server of 'mine' does not answer") })
})
