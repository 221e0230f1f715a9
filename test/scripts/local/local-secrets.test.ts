import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { localSecret } from '../../../scripts/local/local-secrets.ts'

const folder = async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-secrets-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return dir
}
const keys = { name: 'keys', env: 'KEYS_DIR', make: 'ed25519-jwk' } as const
const stripe = { name: 'stripe', env: 'STRIPE_DIR' }

test('each service has folders of its own, whatever their names', async () => {
  const dir = await folder()
  const [one, other] = [await localSecret(dir, 'one', keys), await localSecret(dir, 'other', keys)]
  expect([one, other]).toEqual([join(dir, 'secrets', 'one', 'keys'), join(dir, 'secrets', 'other', 'keys')])
  expect(await readdir(one)).not.toEqual(await readdir(other))
  const made = await readdir(one)
  expect(await readdir(await localSecret(dir, 'one', keys))).toEqual(made)
})

test('a secret that nobody here can make must be there, and the error says where', async () => {
  const dir = await folder()
  const path = join(dir, 'secrets', 'payment', 'stripe')
  await expect(localSecret(dir, 'payment', stripe)).rejects.toThrow(
    `the secret stripe, which payment declares, is not there: put its files into ${path}`,
  )
  await mkdir(path, { recursive: true })
  await writeFile(join(path, 'api-key'), 'x')
  expect(await localSecret(dir, 'payment', stripe)).toBe(path)
})

test('the one folder of earlier versions is taken over', async () => {
  const dir = await folder()
  await mkdir(join(dir, 'keys'))
  await writeFile(join(dir, 'keys', 'old.json'), '{}')
  expect(await readdir(await localSecret(dir, 'stock', keys))).toEqual(['old.json'])
  expect(await readdir(dir)).toEqual(['secrets'])
})
