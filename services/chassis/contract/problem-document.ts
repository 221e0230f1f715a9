/** RFC 9457: what an error is as JSON. */
export const PROBLEM_CONTENT_TYPE = 'application/problem+json'

export interface ProblemFields {
  status: number
  code: string
  detail: string
  extra?: Record<string, unknown>
}

/** The problem object. `type` is a URN made from `code`, so that it needs no host to resolve. */
export const problemDocument = ({ status, code, detail, extra }: ProblemFields): Record<string, unknown> => ({
  type: `urn:problem:${code}`,
  title: titleOf(code),
  status,
  detail,
  code,
  ...extra,
})

const titleOf = (code: string) => code.charAt(0).toUpperCase() + code.slice(1).replaceAll('-', ' ')
