/** Series of the service that is looked at. */
export const OF = 'namespace="$namespace",job="$service"'
export const requests = 'http_server_request_duration_seconds'

export const rate = (metric: string, labels = '') => `rate(${metric}{${OF}${labels && `,${labels}`}}[$__rate_interval])`

/** A share by labels, which is 0 and not absent while there is nothing to count. */
export function share(part: string, whole: string, by = ''): string {
  const sum = (of: string) => `sum ${by && `by (${by}) `}(${of})`
  return `(${sum(part)} or 0 * ${sum(whole)}) / ${sum(whole)}`
}

export const quantile = (q: number, buckets: string, by = '') =>
  `histogram_quantile(${q}, sum by (${['le', by].filter(Boolean).join(', ')}) (${buckets}))`

export const FAILED = 'http_response_status_code=~"5.."'
