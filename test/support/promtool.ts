import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { stringify } from 'yaml'

const run = promisify(execFile)

/** Whether this machine can evaluate PromQL; where it cannot, that is said once a file. */
export const hasPromtool = await run('promtool', ['--version']).then(
  () => true,
  () => false,
)
if (!hasPromtool) process.stderr.write('SKIPPED: PromQL is not evaluated, for promtool is not installed\n')

export interface Sample {
  labels: Record<string, string>
  value: number
}

/** Values of each series, one a minute, as promtool writes them: `0+60x10`. */
export type Series = Record<string, string>

/** @returns what promtool said when it refused */
async function promtool(args: string[], files: Record<string, object>): Promise<string | undefined> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-promtool-'))
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(join(dir, name), stringify(content))
    return await run('promtool', args, { cwd: dir }).then(
      () => undefined,
      ({ stdout, stderr }) => `${stdout}${stderr}`,
    )
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** @returns what is wrong with rules, by every lint */
export const lintRules = (groups: readonly object[]): Promise<string | undefined> =>
  promtool(['check', 'rules', '--lint=all', '--lint-fatal', 'rules.yaml'], { 'rules.yaml': { groups } })

/** What an expression gives after some minutes of these series, with these recording and alerting rules. */
export async function promQl(expr: string, { series, minutes, groups = [] }: { series: Series; minutes: number; groups?: readonly object[] }) {
  const test = {
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    promql_expr_test: [{ expr, eval_time: `${minutes}m`, exp_samples: [{ labels: '{is="none"}', value: 0 }] }],
  }
  // What is expected never comes, so that promtool tells what came.
  const said = await promtool(['test', 'rules', 'test.yaml'], {
    'rules.yaml': { groups },
    'test.yaml': { rule_files: ['rules.yaml'], evaluation_interval: '1m', tests: [test] },
  })
  const got = /^ +got: ?(.*)$/m.exec(said ?? '')?.[1]
  if (got === undefined) throw new Error(`promtool gives nothing for ${expr}: ${said}`)
  return [...got.matchAll(/(\w*)\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\} (\S+?)(?:,|$)/g)].map(
    ([, , labels = '', value]): Sample => ({
      labels: Object.fromEntries([...labels.matchAll(/(\w+)=("(?:[^"\\]|\\.)*")/g)].map(([, name, text = '']) => [name, JSON.parse(text)])),
      value: Number(value?.replace('Inf', 'Infinity')),
    }),
  )
}
