/**
 * What a text has to look like, said once: settings.ts reads settings by it, and the chart's schema has it for values. Helm checks
 * with Go's regular expressions, which know no look-ahead.
 */
export interface Format {
  pattern: string
  maxLength: number
  /** For messages. */
  takes: string
}

const LABEL = '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?'
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`
const QUALIFIED = '([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]'

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names and .../labels */
export const formats = {
  namespace: { pattern: `^${LABEL}$`, maxLength: 63, takes: 'a DNS label (a-z, 0-9 and -, at most 63 characters)' },
  objectName: { pattern: `^${SUBDOMAIN}$`, maxLength: 253, takes: 'the name of an object (DNS labels with dots between them)' },
  /** RFC 1123 section 2.1: its last label begins with a letter, which tells it from an address. */
  hostName: {
    pattern: `^(${LABEL}\\.)*[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`,
    maxLength: 253,
    takes: 'a DNS name in lower case, without port and without an asterisk',
  },
  labelKey: { pattern: `^(${SUBDOMAIN}/)?${QUALIFIED}$`, maxLength: 317, takes: 'the key of a label' },
  labelValue: { pattern: `^(${QUALIFIED})?$`, maxLength: 63, takes: 'the value of a label' },
  headerName: { pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$', maxLength: 100, takes: 'the name of a header in lower case' },
  registry: {
    pattern: '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$',
    maxLength: 200,
    takes: 'a registry with an optional path, without scheme and without a slash at the end',
  },
  imageTag: { pattern: '^[A-Za-z0-9_][-A-Za-z0-9._]{0,127}$', maxLength: 128, takes: 'the tag of an image' },
  url: { pattern: '^https://[^\\s#@]+$', maxLength: 2_048, takes: 'an https URL' },
  image: {
    pattern: '^[a-z0-9]([-a-z0-9._/]*[a-z0-9])?(:[0-9]{1,5}/[-a-z0-9._/]*[a-z0-9])?(:[A-Za-z0-9_][-A-Za-z0-9._]{0,127})?(@sha256:[0-9a-f]{64})?$',
    maxLength: 400,
    takes: 'an image with a tag, a digest (@sha256:...) or both',
  },
  /** OpenID Connect Core section 2: no query and no fragment. */
  issuer: { pattern: '^https://[^\\s?#@]+$', maxLength: 2_048, takes: 'an https URL without query and fragment' },
} as const satisfies Record<string, Format>

export const isOf = ({ pattern, maxLength }: Format, text: string): boolean => text.length <= maxLength && new RegExp(pattern).test(text)
