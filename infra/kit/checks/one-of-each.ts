import type { Check } from './refused.ts'

/** Of two objects with one name the second would take the place of the first. */
export const oneOfEach: Check = ({ objects }) => {
  const names = objects.map(({ kind, metadata: { name, namespace } }) => `${kind} ${namespace ? `${namespace}/` : ''}${name}`)
  const twice = new Set(names.filter((name, index) => names.indexOf(name) !== index))
  return [...twice].map(name => `${name} is made twice: a service has the name of something that the kit makes, or of another service's objects`)
}
