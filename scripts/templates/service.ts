import { numbersName } from '@fairlead/infra/tools'
import type { Names } from './names.ts'
import { plainService } from './plain-service.ts'
import { storingService } from './storing-service.ts'

/** A command to another service: an operation that takes an id and a text. */
export interface CommandTemplate {
  to: Names
  operation: string
}

export interface ServiceTemplate extends Names {
  port: number
  /** Services that it calls. */
  calls: readonly Names[]
  /** Whether it has a database. */
  database: boolean
  /** Whether its operations are for logged-in users. */
  users: boolean
  command?: CommandTemplate
  /** Where it is served by gRPC. */
  grpcPort?: number
}

/** Files of a service that works, its test among them, by path. */
export function serviceFiles(template: ServiceTemplate): Record<string, string> {
  const { name } = template
  const { test, ...files } = template.database ? storingService(template) : plainService(template)
  return {
    ...Object.fromEntries(Object.entries(files).map(([path, content]) => [`services/${name}/${path}`, content])),
    [`services/${name}/service.ts`]: definition(template),
    [`services/${name}/main.ts`]: main(template),
    [`test/${name}.test.ts`]: test,
  }
}

const definition = ({ name, value, port, calls, database, command, grpcPort }: ServiceTemplate) => `import { defineService } from '@fairlead/chassis'
${calls.map(callee => `import { ${callee.value} } from '../${callee.name}/service.ts'\n`).join('')}import { ${value}Contract } from './contract.ts'
${grpcPort === undefined ? '' : `import { ${numbersName(name)} } from './proto.ts'\n`}
export const ${value} = defineService({
  name: '${name}',
  port: ${port},
  contract: ${value}Contract,${grpcPort === undefined ? '' : `\n  grpc: { port: ${grpcPort}, numbers: ${numbersName(name)} },`}${database ? `\n  database: true,` : ''}${calls.length > 0 ? `\n  calls: [${calls.map(callee => edge(callee, command)).join(', ')}],` : ''}
  timeoutMs: ${calls.length > 0 ? '1_000' : '500'},
  maxConcurrency: 100,
  slo: { availability: 0.999, latency: { thresholdMs: 250, objective: 0.99 } },
  scale: { min: 2, max: 4 },
})
`

const edge = ({ name, value }: Names, command: CommandTemplate | undefined) =>
  `{ to: ${value}, mode: 'optional', attemptTimeoutMs: 300${command?.to.name === name ? `, commands: ['${command.operation}']` : ''} }`

const main = ({ value }: ServiceTemplate) => `import { startService } from '@fairlead/chassis/run'
import { ${value}Service } from './start.ts'

await startService(${value}Service)
`
