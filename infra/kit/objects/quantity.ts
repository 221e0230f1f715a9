import { k8s } from 'cdk8s-plus-27'

const SUFFIXES: Record<string, number> = {
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
}

/** As the classes of cdk8s-plus take it, which drop a plain text. */
export const quantity = (text: string): k8s.Quantity => k8s.Quantity.fromString(text)

/**
 * A Kubernetes quantity as a number (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity), e.g. `100m` is 0.1.
 * @throws Error naming a text that is none
 */
export function parseQuantity(text: string): number {
  const [, digits, suffix = ''] = /^(\d+(?:\.\d+)?)([a-zA-Z]*)$/.exec(text) ?? []
  const factor = SUFFIXES[suffix]
  if (digits === undefined || factor === undefined) throw new Error(`'${text}' is not a quantity such as 100m or 256Mi`)
  return Number(digits) * factor
}
