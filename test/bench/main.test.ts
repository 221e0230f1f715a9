import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { runNode } from '../support/run-node.ts'

test('a part that fails costs its own results alone', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-pgbench-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  await writeFile(join(dir, 'pgbench'), '#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "no pgbench today" >&2\nexit 1\n', { mode: 0o755 })
  const { code, stdout, stderr } = await runNode(
    ['test/bench/main.ts', '--only', 'ready,orders,collector', '--rounds', '1', '--seconds', '0.1', '--json'],
    { env: { PATH: `${dir}:${process.env.PATH}` }, timeoutMs: 120_000 },
  )
  expect(code).toBe(1)
  expect(stderr).toMatch(/\nerror: pgbench [^\n]* ended with 1: no pgbench today\n$/)
  const results = JSON.parse(stdout)
  expect(Object.keys(results)).toEqual(['node', 'notes', 'ready', 'collector', 'asked'])
}, 150_000)
