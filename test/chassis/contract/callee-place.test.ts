import { describe, expect, test } from 'vitest'
import { parseCalleePlace } from '../../../services/chassis/contract/callee-place.ts'

describe('parseCalleePlace', () => {
  test.each([
    ['stock-pods', { by: 'host', host: 'stock-pods' }],
    ['127.0.0.1:8080', { by: 'host', host: '127.0.0.1', port: 8_080 }],
    ['user.example:80', { by: 'host', host: 'user.example', port: 80 }],
    ['[fd00::1]:8080', { by: 'host', host: '[fd00::1]', port: 8_080 }],
    ['[fd00::1]', { by: 'host', host: '[fd00::1]' }],
    ['srv:user.service.consul', { by: 'srv', name: 'user.service.consul' }],
    ['srv:_http._tcp.stock-pods.acme.svc.cluster.local.', { by: 'srv', name: '_http._tcp.stock-pods.acme.svc.cluster.local' }],
  ])('reads %s', (text, place) => {
    expect(parseCalleePlace(text)).toEqual(place)
  })

  test.each([
    ['', 'neither a host'],
    ['http://user', 'neither a host'],
    ['user/path', 'neither a host'],
    ['me@user', 'neither a host'],
    ['user?x', 'neither a host'],
    ['user:0', 'neither a host'],
    ['user:65536', 'neither a host'],
    ['user:http', 'neither a host'],
    ['two words', 'neither a host'],
    ['srv:user', 'user is not fully qualified, e.g. user.service.consul: no search domain is tried'],
    ['srv:', 'nothing is no name in DNS'],
    ['srv:user..consul', 'user..consul is no name in DNS'],
    ['srv:user.consul:8080', 'user.consul:8080 is no name in DNS'],
    [`srv:${'a'.repeat(64)}.consul`, 'is no name in DNS'],
    [`srv:${'abcdefg.'.repeat(32)}consul`, 'is no name in DNS'],
  ])('refuses %s', (text, why) => {
    expect(() => parseCalleePlace(text)).toThrow(why)
  })
})
