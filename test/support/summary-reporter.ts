import type { Reporter, TestModule } from 'vitest/node'

/** Ends the run with the one line that says how it went: `N passed, N failed`. A file that cannot be loaded counts as a failure. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    let passed = 0
    let failed = errors.length
    let skipped = 0
    for (const module of modules) {
      const tests = [...module.children.allTests()]
      passed += tests.filter(test => test.result().state === 'passed').length
      failed += tests.filter(test => test.result().state === 'failed').length
      skipped += tests.filter(test => test.result().state === 'skipped').length
      if (module.state() === 'failed' && !tests.some(test => test.result().state === 'failed')) failed++
    }
    // After the reports that are written when the run has ended, coverage among them.
    process.once('exit', () => process.stdout.write(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`))
  }
}
