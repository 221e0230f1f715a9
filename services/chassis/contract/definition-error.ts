/** A definition that cannot work: its message says which, and what is wrong with it. */
export class DefinitionError extends Error {
  override name = 'DefinitionError'
}
