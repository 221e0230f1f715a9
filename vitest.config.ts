import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

const TESTS = 'test/**/*.test.ts'
/** Processes whose deadlines are real: whoever runs beside them takes the time that they need. */
const ALONE = ['test/faults/**/*.test.ts', 'test/order/crash.test.ts']

const common = { setupFiles: ['test/support/compile-cache.ts'], testTimeout: 30_000, hookTimeout: 30_000, pool: 'forks' as const }

export default defineConfig({
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['default', './test/support/summary-reporter.ts'],
    coverage: { provider: 'v8', include: ['services/**/*.ts', 'infra/**/*.ts', 'scripts/**/*.ts'], reporter: ['text-summary'] },
    projects: [
      {
        test: {
          ...common,
          name: 'beside others',
          include: [TESTS],
          // `npm run bench` installs its peers there.
          exclude: [...ALONE, '**/node_modules/**'],
          // Of two cores Vitest would leave one idle half of the time.
          maxWorkers: Math.max(2, availableParallelism() - 1),
          sequence: { groupOrder: 1 },
        },
      },
      { test: { ...common, name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 2 } } },
    ],
  },
})
