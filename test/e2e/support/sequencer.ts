import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Those that need all of a small machine go first, while nothing has piled up; the one that looks back at the whole run goes last. */
const FIRST = ['apply', 'discovery', 'rollout', 'release', 'scaling']
const LAST = ['logs']

const rank = ({ moduleId }: TestSpecification): number => {
  const name = /([\w-]+)\.e2e\.ts$/.exec(moduleId)?.[1] ?? ''
  return FIRST.includes(name) ? FIRST.indexOf(name) - FIRST.length : Number(LAST.includes(name))
}

export default class FixedOrder extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return [...files].sort((a, b) => rank(a) - rank(b) || (a.moduleId < b.moduleId ? -1 : 1))
  }
}
