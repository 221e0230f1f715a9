import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { createAlarm } from '../../../services/chassis/data/alarm.ts'

const LONG = 600_000

describe('alarm.wait', () => {
  test('ends when its time has passed', async () => {
    await createAlarm().wait(1)
  })

  test('ends when it rings', async () => {
    const alarm = createAlarm()
    const waiting = alarm.wait(LONG)
    alarm.ring()
    await waiting
  })

  test('ends at once when it rang while nobody waited, and only once', async () => {
    const alarm = createAlarm()
    alarm.ring()
    alarm.ring()
    await alarm.wait(LONG)
    let ended = false
    const waiting = alarm.wait(LONG).then(() => {
      ended = true
    })
    await pause(20)
    expect(ended).toBe(false)
    alarm.ring()
    await waiting
  })
})
