import { defineConfig } from 'vitest/config'

/** Tests that take minutes, each with all of the machine: one after the other, and by .ci/run alone. */
export default defineConfig({
  test: {
    include: ['test/slow/**/*.slow.ts'],
    reporters: ['verbose', './test/support/summary-reporter.ts'],
    hookTimeout: 60_000,
    fileParallelism: false,
    pool: 'forks',
  },
})
