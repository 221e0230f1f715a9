import type { Names } from './names.ts'

export interface ServiceTemplate extends Names {
  port: number
  /** Services that it calls. */
  calls: readonly Names[]
}

/** Files of a service that answers at once, its test among them, by path. */
export function serviceFiles(template: ServiceTemplate): Record<string, string> {
  const { name } = template
  return {
    [`services/${name}/contract.ts`]: contract(template),
    [`services/${name}/service.ts`]: definition(template),
    [`services/${name}/start.ts`]: start(template),
    [`services/${name}/main.ts`]: main(template),
    [`test/${name}.test.ts`]: test(template),
  }
}

const contract = ({ name, value, noun }: ServiceTemplate) => `import { defineContract, id, strict } from '@fairlead/chassis'
import { z } from 'zod'

const ${value} = strict({ id, text: z.string() })
const params = z.object({ id })

export const ${value}Contract = defineContract({
  get${noun}: {
    method: 'GET',
    path: '/${name}/{id}',
    summary: 'One ${name}',
    auth: 'none',
    params,
    responses: { 200: { description: 'The ${name}', body: ${value} } },
  },
  // For other services alone, under a path of its own: an ingress opens a path with all that is below it.
  update${noun}: {
    method: 'PUT',
    path: '/${name}-updates/{id}',
    summary: 'Take an update',
    auth: 'workload',
    params,
    body: strict({ text: z.string().max(200) }),
    responses: { 200: { description: 'The ${name}', body: ${value} } },
  },
})
`

const definition = ({ name, value, port, calls }: ServiceTemplate) => `import { defineService } from '@fairlead/chassis'
${calls.map(callee => `import { ${callee.value} } from '../${callee.name}/service.ts'\n`).join('')}import { ${value}Contract } from './contract.ts'

export const ${value} = defineService({
  name: '${name}',
  port: ${port},
  contract: ${value}Contract,${
    calls.length > 0
      ? `
  calls: [${calls.map(callee => `{ to: ${callee.value}, mode: 'optional', attemptTimeoutMs: 300 }`).join(', ')}],`
      : ''
  }
  timeoutMs: ${calls.length > 0 ? '1_000' : '500'},
  maxConcurrency: 100,
  slo: { availability: 0.999, latency: { thresholdMs: 250, objective: 0.99 } },
  scale: { min: 2, max: 4 },
})
`

const start = ({ value, noun }: ServiceTemplate) => `import { implement } from '@fairlead/chassis'
import { ${value} } from './service.ts'

export const ${value}Service = implement(${value}, {
  start: () => ({
    handlers: {
      get${noun}: ({ params: { id } }) => ({ status: 200, body: { id, text: 'Hello' } }),
      update${noun}: ({ params: { id }, body: { text } }) => ({ status: 200, body: { id, text } }),
    },
  }),
})
`

const main = ({ value }: ServiceTemplate) => `import { startService } from '@fairlead/chassis/run'
import { ${value}Service } from './start.ts'

await startService(${value}Service)
`

const test = ({ name, value, noun }: ServiceTemplate) => `import { newId } from '@fairlead/chassis'
import { runService, workloadToken } from '@fairlead/chassis/testing'
import { expect, test } from 'vitest'
import { ${value}Service } from '../services/${name}/start.ts'

test('gives one ${name}', async () => {
  await using service = await runService(${value}Service)
  const id = newId()
  expect(await service.call('get${noun}', { params: { id } })).toEqual({ status: 200, body: { id, text: 'Hello' } })
})

test('takes updates from services alone', async () => {
  await using service = await runService(${value}Service)
  const update = { params: { id: newId() }, body: { text: 'new' } }
  expect(await service.call('update${noun}', update)).toMatchObject({ status: 401 })
  expect(await service.call('update${noun}', { ...update, as: workloadToken('another') })).toMatchObject({ status: 200, body: { text: 'new' } })
})
`
