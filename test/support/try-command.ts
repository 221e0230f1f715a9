import { expect } from 'vitest'
import type { Trial } from './documented-commands.ts'
import { runProgram } from './run-node.ts'

export interface TryOptions {
  cwd?: string
  context?: string
  timeoutMs?: number
}

/** Runs the short forms of a documented command as npm does, and expects each to end as it should, without a stack. */
export async function tryCommand(trial: Trial, { cwd, context = '', timeoutMs = 60_000 }: TryOptions = {}): Promise<void> {
  if ('by' in trial) return
  for (const [name = '', ...flags] of trial.run) {
    const args = ['run', '--silent', name, '--', ...flags.map(flag => flag.replace('CLUSTER', context))]
    const { code, stdout, stderr } = await runProgram('npm', args, { cwd, timeoutMs })
    expect({ args, code }, stderr).toEqual({ args, code: trial.code ?? 0 })
    expect(stdout + stderr).not.toMatch(/^ +at .*:\d+:\d+\)?$/m)
  }
}
