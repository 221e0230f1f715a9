import pg from 'pg'

/** A bigint as a number. One beyond 2^53 is a defect that must not be rounded away. */
function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError('a bigint exceeds 2^53')
  return value
}

/** How columns are read. Pools are given it, so that importing the chassis changes no other connection of the process. */
export const columnTypes: pg.CustomTypesConfig = {
  getTypeParser: (id: number, format?: 'text' | 'binary') =>
    id === pg.types.builtins.INT8 && format !== 'binary' ? wholeNumber : pg.types.getTypeParser(id, format as 'text'),
}
