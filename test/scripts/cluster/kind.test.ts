import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { kindConfig } from '../../../scripts/cluster/kind.ts'

test('the cluster is reached on 127.0.0.1 only', () => {
  const { nodes } = parse(kindConfig(2))
  expect(nodes.map(({ role }: { role: string }) => role)).toEqual(['control-plane', 'worker', 'worker'])
  expect(nodes[0].extraPortMappings).toEqual([
    { containerPort: 80, hostPort: 8000, listenAddress: '127.0.0.1', protocol: 'TCP' },
    { containerPort: 443, hostPort: 8443, listenAddress: '127.0.0.1', protocol: 'TCP' },
  ])
  expect(nodes.slice(1).some((node: object) => 'extraPortMappings' in node)).toBe(false)
})
