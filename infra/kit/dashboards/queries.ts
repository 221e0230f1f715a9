/** Series of the service that is looked at. */
export const OF = 'namespace="$namespace",job="$service"'

/** Rates over the interval that fits a graph. */
export const ofInterval = (selector: string) => `rate(${selector}[$__rate_interval])`

export const rate = (metric: string, labels = '') => ofInterval(`${metric}{${OF}${labels && `,${labels}`}}`)

/** A share by labels, which is 0 and not absent while there is nothing to count. */
export function share(part: string, whole: string, by = ''): string {
  const sum = (of: string) => `sum ${by && `by (${by}) `}(${of})`
  return `(${sum(part)} or 0 * ${sum(whole)}) / ${sum(whole)}`
}

export const quantile = (q: number, buckets: string, by = '') =>
  `histogram_quantile(${q}, sum by (${['le', by].filter(Boolean).join(', ')}) (${buckets}))`
