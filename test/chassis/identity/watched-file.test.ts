import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { watchPath } from '../../../services/chassis/identity/watched-file.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

let dir: string
let runtime: TestRuntime

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-watched-'))
  runtime = testRuntime()
  return () => rm(dir, { recursive: true, force: true })
})

const soon = (check: () => unknown) => vi.waitFor(check, { timeout: 5_000, interval: 5 })

const readJson = async (path: string) => JSON.parse(await readFile(path, 'utf8')) as unknown

async function watch<T>(path: string, read: (path: string) => Promise<T>) {
  const reads = vi.fn(read)
  const watched = await watchPath({ path, read: reads, log: runtime.log, intervalMs: 5 })
  onTestFinished(watched.close)
  return { ...watched, reads }
}

/** Mounts a version as the kubelet does: a new folder, and `..data` swapped to it in one step. */
async function mount(version: string, files: Record<string, string>) {
  await mkdir(join(dir, version))
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, version, name), text)
  await symlink(version, join(dir, '..data_tmp'))
  await rename(join(dir, '..data_tmp'), join(dir, '..data'))
}

describe('watchPath', () => {
  test('gives the first value at once', async () => {
    const file = join(dir, 'a.json')
    await writeFile(file, '{"n":1}')
    const { current } = await watch(file, readJson)
    expect(current()).toEqual({ n: 1 })
  })

  test('rejects when the first read fails', async () => {
    await expect(watch(join(dir, 'nothing'), readJson)).rejects.toMatchObject({ code: 'ENOENT' })
    await writeFile(join(dir, 'a.json'), '{')
    await expect(watch(join(dir, 'a.json'), readJson)).rejects.toThrow(SyntaxError)
  })

  test('gives the new value when the file is written or replaced', async () => {
    const file = join(dir, 'a.json')
    await writeFile(file, '{"n":1}')
    const { current } = await watch(file, readJson)
    await writeFile(file, '{"n":22}')
    await soon(() => expect(current()).toEqual({ n: 22 }))
    await writeFile(`${file}.new`, '{"n":33}')
    await rename(`${file}.new`, file)
    await soon(() => expect(current()).toEqual({ n: 33 }))
    expect(runtime.lines.filter(line => line.msg === 're-read')).toEqual(Array(2).fill(expect.objectContaining({ level: 'info', path: file })))
  })

  test('does not read what has not changed', async () => {
    const file = join(dir, 'a.json')
    await writeFile(file, '{"n":1}')
    const watched = await watch(file, readJson)
    const polls = await watch(join(dir, 'a.json'), readJson)
    // By the time that another watcher has seen the second of two changes, this one has looked, too.
    await writeFile(join(dir, 'b.json'), '{"n":1}')
    const other = await watch(join(dir, 'b.json'), readJson)
    for (const n of [22, 333]) {
      await writeFile(join(dir, 'b.json'), `{"n":${n}}`)
      await soon(() => expect(other.current()).toEqual({ n }))
    }
    expect(watched.reads).toHaveBeenCalledTimes(1)
    expect(polls.reads).toHaveBeenCalledTimes(1)
  })

  test.each([
    ['is broken', (file: string) => writeFile(file, '{"n":')],
    ['is gone', (file: string) => rm(file)],
  ])('keeps the last value while the new one %s, says so, and takes the next good one', async (_name, spoil) => {
    const file = join(dir, 'a.json')
    await writeFile(file, '{"n":1}')
    const { current } = await watch(file, readJson)
    await spoil(file)
    const warnings = () => runtime.lines.filter(line => line.msg === 'cannot be re-read; the last value stays')
    await soon(() => expect(warnings().length).toBeGreaterThan(1))
    expect(warnings()[0]).toMatchObject({ level: 'warn', path: file })
    expect(current()).toEqual({ n: 1 })
    await writeFile(file, '{"n":2}')
    await soon(() => expect(current()).toEqual({ n: 2 }))
  })

  test('follows a file of a mount when the kubelet swaps ..data', async () => {
    await mount('..2026_01', { token: 'first' })
    await symlink('..data/token', join(dir, 'token'))
    const { current } = await watch(join(dir, 'token'), path => readFile(path, 'utf8'))
    await mount('..2026_02', { token: 'later' })
    await rm(join(dir, '..2026_01'), { recursive: true })
    await soon(() => expect(current()).toBe('later'))
  })

  test('follows a folder that is a mount', async () => {
    await mount('..2026_01', { key: 'first' })
    await symlink('..data/key', join(dir, 'key'))
    const { current } = await watch(dir, path => readFile(join(path, 'key'), 'utf8'))
    await mount('..2026_02', { key: 'later' })
    await soon(() => expect(current()).toBe('later'))
  })

  test('looks no more after close()', async () => {
    const file = join(dir, 'a.json')
    await writeFile(file, '{"n":1}')
    const closed = await watch(file, readJson)
    const open = await watch(file, readJson)
    closed.close()
    await writeFile(file, '{"n":22}')
    await soon(() => expect(open.current()).toEqual({ n: 22 }))
    await writeFile(file, '{"n":333}')
    await soon(() => expect(open.current()).toEqual({ n: 333 }))
    expect(closed.current()).toEqual({ n: 1 })
  })
})
