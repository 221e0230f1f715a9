import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inject } from 'vitest'

const file = () => join(inject('logs'), 'secrets')

/** Remembers what no log may have, for the test that reads them all at the end of the run. */
export const noteSecrets = (...secrets: string[]): void => appendFileSync(file(), secrets.map(secret => `${JSON.stringify(secret)}\n`).join(''))

/** All that any test of this run has noted. */
export const notedSecrets = (): string[] =>
  existsSync(file())
    ? readFileSync(file(), 'utf8')
        .trim()
        .split('\n')
        .map(line => JSON.parse(line) as string)
    : []
