import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files by name, those last that look back at the whole run. */
export default class LookBackLast extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const last = ({ moduleId }: TestSpecification) => Number(/\/logs\.e2e\.ts$/.test(moduleId))
    return [...files].sort((a, b) => last(a) - last(b) || (a.moduleId < b.moduleId ? -1 : 1))
  }
}
