/** Who stands in a line, and may leave it from anywhere. */
export interface Entry<T> {
  readonly of: T
  before: Entry<T> | undefined
  after: Entry<T> | undefined
  stands: boolean
}

/** A line that is served from either end; joining and leaving take constant time. */
export interface Line<T> {
  join(of: T): Entry<T>
  /** @returns false of who has left before */
  leave(place: Entry<T>): boolean
  first(): Entry<T> | undefined
  last(): Entry<T> | undefined
}

export function createLine<T>(): Line<T> {
  let first: Entry<T> | undefined
  let last: Entry<T> | undefined
  return {
    join: of => {
      const place: Entry<T> = { of, before: last, after: undefined, stands: true }
      if (last) last.after = place
      else first = place
      last = place
      return place
    },
    leave: place => {
      if (!place.stands) return false
      place.stands = false
      if (place.before) place.before.after = place.after
      else first = place.after
      if (place.after) place.after.before = place.before
      else last = place.before
      // Whoever still holds it must not hold those who came after.
      place.before = undefined
      place.after = undefined
      return true
    },
    first: () => first,
    last: () => last,
  }
}
