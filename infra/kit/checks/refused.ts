import type { Context } from '../objects/context.ts'
import type { Manifest } from '../objects/manifest.ts'

/** What a rule looks at: the graph and settings, and the objects that came of them. */
export interface Subject extends Context {
  objects: readonly Manifest[]
}

/** One rule. @returns a message for each breach: both values, and where each is set */
export type Check = (subject: Subject) => string[]

/** A rule of the graph alone, which holds on a laptop as well. */
export type GraphCheck = (subject: Pick<Subject, 'system'>) => string[]

/** The system cannot work as described. */
export class Refused extends Error {
  override name = 'Refused'
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(`the system cannot work as described:\n${problems.map(problem => `  ${problem}`).join('\n')}`)
    this.problems = problems
  }
}
