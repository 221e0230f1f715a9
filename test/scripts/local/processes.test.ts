import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { beganAt, holderOf } from '../../../scripts/local/processes.ts'
import { endOrphans, openRunFile } from '../../../scripts/local/run-file.ts'
import { freePort } from '../../../services/chassis/local/ports.ts'

function sleeper(): ChildProcess & { pid: number } {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child as ChildProcess & { pid: number }
}

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-run-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** What an earlier run would have noted, whose own process is gone. */
const noted = (dir: string, ...processes: object[]) =>
  writeFile(join(dir, 'processes.json'), JSON.stringify([{ name: 'npm start', pid: 2 ** 22, began: '1' }, ...processes]))

describe('holderOf()', () => {
  test.each(['127.0.0.1', '0.0.0.0', '::1'])('tells who listens on %s', async host => {
    const server = createServer().listen(0, host)
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    expect(await holderOf(port)).toEqual({ pid: process.pid, program: expect.stringMatching(/node/) })
  })

  test('knows of nobody where nobody listens', async () => {
    expect(await holderOf(await freePort())).toBeUndefined()
  })
})

describe('beganAt()', () => {
  test('is the same each time, another for another process, and nothing once it is gone', async () => {
    const child = sleeper()
    const began = await beganAt(child.pid)
    expect(began).toMatch(/\d/)
    expect(await beganAt(child.pid)).toBe(began)
    expect(await beganAt(process.pid)).not.toBe(began)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await beganAt(child.pid)).toBeUndefined()
  })
})

describe('endOrphans()', () => {
  test('ends what an earlier run noted, and says what', async () => {
    const dir = await folder()
    const child = sleeper()
    await noted(dir, { name: 'booking', pid: child.pid, began: await beganAt(child.pid) })
    const exit = once(child, 'exit')
    expect(await endOrphans(dir)).toEqual([`booking (pid ${child.pid})`])
    expect(await exit).toEqual([null, 'SIGTERM'])
    expect(await endOrphans(dir)).toEqual([])
  })

  test('leaves a later process with the same id alone', async () => {
    const dir = await folder()
    const child = sleeper()
    await noted(dir, { name: 'booking', pid: child.pid, began: 'at another time' })
    expect(await endOrphans(dir)).toEqual([])
    expect(child.exitCode ?? child.signalCode).toBeNull()
  })

  test('refuses while the run that noted them goes on, and ends nothing', async () => {
    const dir = await folder()
    const child = sleeper()
    const file = await openRunFile(dir)
    await file.note('booking', child.pid)
    await expect(endOrphans(dir)).rejects.toThrow(`fairlead start runs in ${dir} already, with pid ${process.pid}: stop it`)
    expect(child.exitCode ?? child.signalCode).toBeNull()
    await file.remove()
    expect(await endOrphans(dir)).toEqual([])
  })

  test.each(['', '[', '{}', '[null]'])('makes nothing of %j', async text => {
    const dir = await folder()
    await mkdir(dir, { recursive: true })
    await writeFile(join(dir, 'processes.json'), text)
    expect(await endOrphans(dir)).toEqual([])
    expect(await readFile(join(dir, 'processes.json'), 'utf8')).toBe(text)
  })
})
