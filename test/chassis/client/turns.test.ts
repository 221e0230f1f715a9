import { describe, expect, test } from 'vitest'
import { createTurns } from '../../../services/chassis/client/turns.ts'

const never = new AbortController().signal

describe('createTurns', () => {
  test('lets as many go on as the limit says, and the others in their order', async () => {
    const turns = createTurns(2)
    const begun: number[] = []
    const all = Array.from({ length: 4 }, (_, i) => turns.take(never).then(() => begun.push(i)))
    await Promise.all(all.slice(0, 2))
    expect(begun).toEqual([0, 1])
    turns.give()
    await all[2]
    expect(begun).toEqual([0, 1, 2])
    turns.give()
    await all[3]
  })

  test('forgets whoever gives up, also in the moment of its turn', async () => {
    const turns = createTurns(1)
    await turns.take(never)
    const [early, late] = [new AbortController(), new AbortController()]
    const [first, second] = [turns.take(early.signal), turns.take(late.signal)]
    early.abort(new Error('early'))
    await expect(first).rejects.toThrow('early')
    late.abort(new Error('late'))
    turns.give()
    await expect(second).rejects.toThrow('late')
    await turns.take(never)
  })
})
