import { execFile } from 'node:child_process'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A program and the words that it begins with, such as `python3 -m grpc_tools.protoc`. */
type Program = string[]

async function firstThatWorks(what: string, candidates: readonly (string | undefined)[]): Promise<Program | undefined> {
  for (const candidate of candidates) {
    if (!candidate) continue
    const [file = '', ...words] = candidate.split(' ')
    const works = await run(file, [...words, '--version'], { timeout: 60_000 }).then(
      () => true,
      () => false,
    )
    if (works) return [file, ...words]
  }
  process.stderr.write(`SKIPPED: ${what} is not installed\n`)
  return undefined
}

/** Debian's protobuf-compiler or PyPI's grpcio-tools; PROTOC names another. */
export const protoc = await firstThatWorks('protoc (pip install grpcio-tools, or apt-get install protobuf-compiler)', [
  process.env.PROTOC,
  'protoc',
  'python3 -m grpc_tools.protoc',
])

/** BUF names one that is not on the PATH. */
export const buf = await firstThatWorks('buf (npm install --global @bufbuild/buf)', [process.env.BUF, 'buf', join(homedir(), 'go', 'bin', 'buf')])

/** @returns what it said, where it refused */
export const runTool = ([file = '', ...words]: Program, args: string[], cwd: string): Promise<string | undefined> =>
  run(file, [...words, ...args], { cwd, timeout: 120_000 }).then(
    () => undefined,
    ({ stdout, stderr }) => `${stdout}${stderr}`,
  )
