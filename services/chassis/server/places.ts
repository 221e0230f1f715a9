export interface PlaceLimits {
  /** Held at once by all sources together. */
  total: number
  /** Held at once by one source. */
  perSource: number
}

export interface Places {
  /** Takes a place, or says whose limit leaves none. */
  take(source: string): 'total' | 'source' | undefined
  /** Gives one back that `take` gave. */
  give(source: string): void
}

/** Places of which no single source can hold all, e.g. requests in flight or bodies that are still arriving. */
export function createPlaces({ total, perSource }: PlaceLimits): Places {
  const held = new Map<string, number>()
  let all = 0
  return {
    take: source => {
      if (all >= total) return 'total'
      const own = held.get(source) ?? 0
      if (own >= perSource) return 'source'
      held.set(source, own + 1)
      all++
      return undefined
    },
    give: source => {
      const left = (held.get(source) ?? 0) - 1
      if (left > 0) held.set(source, left)
      else held.delete(source)
      all--
    },
  }
}
