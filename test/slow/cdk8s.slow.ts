import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { CDK8S } from '../support/documented-commands.ts'
import { runProgram } from '../support/run-node.ts'

test('cdk8s itself writes the files of npm run synth', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-cdk8s-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const env = { IMAGE_TAG: '1.0.0', CDK8S_CHECK_UPGRADE: 'false' }
  const [ours, theirs] = [join(dir, 'ours'), join(dir, 'theirs')]
  expect(await runProgram('npm', ['run', '--silent', 'synth'], { env: { ...env, CDK8S_OUTDIR: ours } })).toMatchObject({ code: 0 })
  const synth = await runProgram('npx', ['--yes', CDK8S, 'synth', '--output', theirs], { env, timeoutMs: 300_000 })
  expect(synth, synth.stderr).toMatchObject({ code: 0 })
  const files = await readdir(ours)
  expect(files).toEqual(['0000-shop.k8s.yaml', '0001-platform.k8s.yaml'])
  expect(await readdir(theirs)).toEqual(files)
  for (const file of files) expect(await readFile(join(theirs, file), 'utf8')).toBe(await readFile(join(ours, file), 'utf8'))
}, 360_000)
