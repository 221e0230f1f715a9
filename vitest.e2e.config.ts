import { defineConfig } from 'vitest/config'
import FixedOrder from './test/e2e/support/sequencer.ts'

/** End-to-end tests on a real cluster: one file after the other, since each moves what the others look at. */
export default defineConfig({
  test: {
    include: ['test/e2e/**/*.e2e.ts'],
    globalSetup: './test/e2e/support/recorder.ts',
    sequence: { sequencer: FixedOrder },
    reporters: ['verbose', './test/support/summary-reporter.ts'],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    fileParallelism: false,
    pool: 'forks',
  },
})
