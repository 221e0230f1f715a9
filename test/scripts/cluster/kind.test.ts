import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { kindConfig } from '../../../scripts/cluster/kind.ts'
import { parseFlags, wholeNumber } from '../../../scripts/cluster/options.ts'

test('the cluster is reached on 127.0.0.1 only', () => {
  const { nodes } = parse(kindConfig(2))
  expect(nodes.map(({ role }: { role: string }) => role)).toEqual(['control-plane', 'worker', 'worker'])
  expect(nodes[0].extraPortMappings).toEqual([
    { containerPort: 80, hostPort: 8000, listenAddress: '127.0.0.1', protocol: 'TCP' },
    { containerPort: 443, hostPort: 8443, listenAddress: '127.0.0.1', protocol: 'TCP' },
  ])
  expect(nodes.slice(1).some((node: object) => 'extraPortMappings' in node)).toBe(false)
})

test('a wrong flag is named, and ends with 2', () => {
  expect(() => parseFlags({ json: { type: 'boolean' } }, ['--jsom'])).toThrow(
    expect.objectContaining({ message: "Unknown option '--jsom'; see --help", exitCode: 2 }),
  )
  expect(parseFlags({ json: { type: 'boolean' } }, ['--json'])).toEqual({ json: true })
})

test.each(['0', '10', 'two', '1.5', '', '1e9'])('%j is not a number of workers from 1 to 9', text => {
  expect(() => wholeNumber('workers', text, { min: 1, max: 9 })).toThrow(
    expect.objectContaining({ message: `--workers ${text} is not a whole number from 1 to 9`, exitCode: 2 }),
  )
})

test('a whole number within the bounds is taken', () => {
  expect([wholeNumber('workers', '1', { min: 1, max: 9 }), wholeNumber('workers', '9', { min: 1, max: 9 })]).toEqual([1, 9])
})
