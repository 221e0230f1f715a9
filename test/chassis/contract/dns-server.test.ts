import { describe, expect, test } from 'vitest'
import { describeDnsServer, parseDnsServer } from '../../../services/chassis/contract/dns-server.ts'

describe('parseDnsServer', () => {
  test.each([
    ['10.0.0.2', '10.0.0.2', 53],
    ['127.0.0.1:8600', '127.0.0.1', 8_600],
    ['fd00::2', 'fd00::2', 53],
    ['[fd00::2]', 'fd00::2', 53],
    ['[fd00::2]:8600', 'fd00::2', 8_600],
  ])('reads %s', (text, host, port) => {
    expect(parseDnsServer(text)).toEqual({ host, port })
  })

  test.each(['', 'consul', 'consul:8600', '10.0.0.2:0', '10.0.0.2:65536', '10.0.0.2:', '10.0.0', '[10.0.0.2', 'fd00::2]:53', '[consul]:53'])(
    'refuses "%s"',
    text => {
      expect(() => parseDnsServer(text)).toThrow(`${text} is no address of a DNS server such as 10.0.0.2 or 127.0.0.1:8600`)
    },
  )
})

test('describeDnsServer writes what parseDnsServer reads', () => {
  for (const text of ['127.0.0.1:8600', '[fd00::2]:53']) expect(describeDnsServer(parseDnsServer(text))).toBe(text)
})
