import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { ensureBase, identityOf } from '../../../infra/kit/image/base.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`
const OTHER = `sha256:${'b'.repeat(64)}`
const ID = `sha256:${'c'.repeat(64)}`

/** Puts a docker on the PATH that runs a script. @returns what it was asked */
async function withDocker(script: string): Promise<() => Promise<string[]>> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-docker-'))
  onTestFinished(async () => {
    vi.unstubAllEnvs()
    await rm(dir, { recursive: true, force: true })
  })
  const log = join(dir, 'asked')
  await writeFile(join(dir, 'docker'), `#!/bin/sh\necho "$*" >> ${log}\n${script}\n`, { mode: 0o755 })
  await writeFile(log, '')
  vi.stubEnv('PATH', `${dir}:/usr/bin:/bin`)
  return async () => (await readFile(log, 'utf8')).trim().split('\n').filter(Boolean)
}

describe('identityOf', () => {
  test('a reference with a digest is that digest, on every machine', async () => {
    const asked = await withDocker('exit 1')
    expect(await identityOf(`registry.example/node:24@${DIGEST}`)).toBe(DIGEST)
    expect(await asked()).toEqual([])
  })

  test('a tag is the digest that its own registry gave it', async () => {
    await withDocker(`echo other.example/node@${OTHER}; echo registry.example/node@${DIGEST}; echo ${ID}`)
    expect(await identityOf('registry.example/node:24')).toBe(DIGEST)
  })

  test('a tag that came from no registry is the id of the image', async () => {
    await withDocker(`echo ${ID}`)
    expect(await identityOf('registry.example/node:24')).toBe(ID)
  })

  test('a tag that docker does not have, or without docker, is the tag', async () => {
    await withDocker('echo "no such image" >&2; exit 1')
    expect(await identityOf('registry.example/node:24')).toBe('registry.example/node:24')
    vi.stubEnv('PATH', '/nothing')
    expect(await identityOf('registry.example/node:24')).toBe('registry.example/node:24')
  })
})

describe('ensureBase', () => {
  test('pulls what docker lacks, and what it has only for the newest', async () => {
    const lacking = await withDocker('[ "$1" = pull ]')
    await ensureBase('node:24', {})
    expect((await lacking()).at(-1)).toBe('pull --quiet node:24')
    const having = await withDocker(`echo ${ID}`)
    await ensureBase('node:24', {})
    expect((await having()).filter(line => line.startsWith('pull'))).toEqual([])
    await ensureBase('node:24', { newest: true })
    expect(await having()).toContain('pull --quiet node:24')
  })
})
