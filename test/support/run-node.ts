import { execFile } from 'node:child_process'

export interface Ended {
  /** The exit code, or the signal's name. */
  code: number | string
  stdout: string
  stderr: string
}

export interface RunOptions {
  cwd?: string
  /** Beside this process' own. */
  env?: Record<string, string>
  /** @default 60000 */
  timeoutMs?: number
}

/** Runs a program of ours to its end, whatever that is. */
export const runNode = (args: string[], options?: RunOptions): Promise<Ended> =>
  runProgram(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], options)

export const runProgram = (program: string, args: string[], { cwd, env, timeoutMs = 60_000 }: RunOptions = {}): Promise<Ended> =>
  new Promise(done => {
    const options = { cwd, env: { ...process.env, ...env }, timeout: timeoutMs, maxBuffer: 16 << 20 }
    execFile(program, args, options, (error, stdout, stderr) => done({ code: error ? (error.signal ?? error.code ?? 1) : 0, stdout, stderr }))
  })
