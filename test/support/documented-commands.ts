import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

/** How a command of the documents is tried: by a short form of it, or by the test that does it in full. */
export type Trial = { run: string[][]; code?: number } | { by: string }

/** cdk8s' own command, which is no dependency: npx brings it. */
export const CDK8S = 'cdk8s-cli@2.207.60'

/** CLUSTER is a context of the kubeconfig. */
const cluster = (...args: string[]): Trial => ({ run: [[...args, '--context', 'CLUSTER']] })
const by = (path: string): Trial => ({ by: path })
const UNKNOWN_ID = '0193c5f4-0000-7000-8000-000000000000'

/** Tried in a copy of the repository. */
export const LIGHT: Record<string, Trial> = {
  'npm start -- --help': { run: [['start', '--help']] },
  'npm run charts': { run: [['charts'], ['charts', '--check']] },
  'npm run diagram': { run: [['diagram'], ['diagram', '--check']] },
  'npm run proto': { run: [['proto'], ['proto', '--check']] },
  'npm run synth': { run: [['synth']] },
  'npm run synth -- --help': { run: [['synth', '--help']] },
}

/** They take a minute each. */
export const SLOW: Record<string, Trial> = {
  'npm run bench': { run: [['bench', '--rounds', '1', '--seconds', '0.05']] },
  'npm run fuzz': { run: [['fuzz', '--max-examples', '1']] },
}

/** They need a cluster that `npm run up` made, and docker. */
export const ON_A_CLUSTER: Record<string, Trial> = {
  'npm run deploy': cluster('deploy'),
  'npm run deploy -- --context NAME': cluster('deploy'),
  'npm run doctor': cluster('doctor', '--only', 'certificate'),
  'npm run doctor -- --context NAME': cluster('doctor', '--only', 'certificate'),
  "npm run doctor -- --context NAME --only 'workload identity'": cluster('doctor', '--only', 'workload identity'),
  'npm run images': { run: [['images']] },
  'npm run images -- --pull': by('test/infra/image/image.test.ts'),
  'npm run images -- --helm': { run: [['images', '--helm']] },
  'npm run outbox -- drop ID --context NAME': { ...cluster('outbox', 'drop', UNKNOWN_ID), code: 1 },
  'npm run outbox -- list': cluster('outbox', 'list'),
  'npm run outbox -- list --context NAME': cluster('outbox', 'list'),
  'npm run outbox -- retry ID --context NAME': { ...cluster('outbox', 'retry', UNKNOWN_ID), code: 1 },
  'npm run secrets': cluster('secrets'),
  'npm run secrets -- --context NAME': cluster('secrets'),
  'npm run secrets -- --context NAME --rotate': cluster('secrets', '--rotate'),
  'npm run status': cluster('status'),
  'npm run status -- --context NAME': cluster('status'),
}

const ELSEWHERE: Record<string, Trial> = {
  'npm run add -- service NAME': by('test/slow/scaffold.slow.ts'),
  'npm run add -- service booking --database --users --command stock.updateStock': by('test/slow/scaffold.slow.ts'),
  'npm run add -- service stock': by('test/slow/scaffold.slow.ts'),
  'npm run check': by('.ci/run'),
  'npm run down': by('.ci/run'),
  'npm run e2e': by('.ci/run'),
  'npm run format': by('package.json'),
  'npm run logs -- SERVICE': by('test/e2e/logs.e2e.ts'),
  'npm run logs -- order': by('test/e2e/logs.e2e.ts'),
  'npm run logs -- user': by('test/e2e/logs.e2e.ts'),
  'npm run pack': by('test/slow/packages.slow.ts'),
  'npm run proto -- --breaking': by('test/scripts/proto.test.ts'),
  'npm run proto -- --check': by('test/scripts/proto.test.ts'),
  'npm run proto -- stock': by('test/scripts/proto.test.ts'),
  'npm run regenerate': by('test/slow/added-service.slow.ts'),
  'npm run up': by('.ci/run'),
  'npm run token -- ada': by('test/slow/scaffold.slow.ts'),
  'npm start': by('test/shop/start.test.ts'),
  'npm test': by('.ci/run'),
  // It needs the network.
  [`npx ${CDK8S} synth`]: by('test/slow/cdk8s.slow.ts'),
}

export const TRIALS: Record<string, Trial> = { ...LIGHT, ...SLOW, ...ON_A_CLUSTER, ...ELSEWHERE }

/** The name of a command, and its options up to a comment, a pipe, or the end of what it is in. */
const COMMAND = /\b(?:npm (?:run [\w:]+|start|test)(?: -- [^#&|;)`]*)?|npx fairlead [a-z]+(?: [^#&|;)`]*)?|npx cdk8s-cli@[\d.]+ [a-z]+)/g

/** What a project's pages call `npx fairlead X` is here what `npm run X` calls. */
const asNpm = (command: string) => command.replace(/^npx fairlead (\w+)(?: (?=.))?/, (_, name) => `npm run ${name} -- `).replace(/ -- $/, '')

/** Every command in code of README.md and docs/, as npm runs it. */
export async function documentedCommands(): Promise<string[]> {
  const pages = ['README.md', ...globSync('docs/**/*.md').filter(path => !path.startsWith('docs/decisions/'))]
  const found = new Set<string>()
  for (const page of pages) {
    const lines = (await readFile(page, 'utf8')).split('\n')
    // A block is indented or fenced; all else is between backticks.
    const code = lines.flatMap(line => (/^ {4}/.test(line) ? [line] : [...line.matchAll(/`([^`]+)`/g)].map(([, inline = '']) => inline)))
    for (const [command] of code.flatMap(text => [...text.matchAll(COMMAND)])) found.add(asNpm(command.trim()))
  }
  return [...found].sort()
}
