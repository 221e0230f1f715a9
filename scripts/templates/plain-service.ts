import type { ServiceTemplate } from './service.ts'

/** A service that remembers nothing. */
export const plainService = (template: ServiceTemplate) => ({
  'contract.ts': contract(template),
  'start.ts': start(template),
  test: test(template),
})

const contract = ({ name, value, noun, users }: ServiceTemplate) => `import { defineContract, id, strict } from '@fairlead/chassis'
import { z } from 'zod'

const ${value} = strict({ id, text: z.string() }).meta({ title: '${noun}' })
const params = z.object({ id })

export const ${value}Contract = defineContract({
  get${noun}: {
    method: 'GET',
    path: '/${name}/{id}',
    summary: 'Get a ${name}',
    auth: '${users ? 'user' : 'none'}',
    params,
    responses: { 200: { description: 'The ${name}', body: ${value} } },
  },
  // Only for other services. It has its own path because the ingress exposes a path and everything below it.
  update${noun}: {
    method: 'PUT',
    path: '/${name}-updates/{id}',
    summary: 'Receive an update',
    auth: 'workload',
    params,
    body: strict({ text: z.string().max(200) }),
    responses: { 200: { description: 'The ${name}', body: ${value} } },
  },
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

const test = ({ name, value, noun, users }: ServiceTemplate) => `import { newId } from '@fairlead/chassis'
import { runService, ${users ? 'userToken, ' : ''}workloadToken } from '@fairlead/chassis/testing'
import { expect, test } from 'vitest'
import { ${value}Service } from '../services/${name}/start.ts'

test('gives one ${name}', async () => {
  await using service = await runService(${value}Service)
  const id = newId()
  expect(await service.call('get${noun}', { ${users ? "as: userToken('ada'), " : ''}params: { id } })).toEqual({ status: 200, body: { id, text: 'Hello' } })
})

test('takes updates from services alone', async () => {
  await using service = await runService(${value}Service)
  const update = { params: { id: newId() }, body: { text: 'new' } }
  expect(await service.call('update${noun}', update)).toMatchObject({ status: 401 })
  expect(await service.call('update${noun}', { ...update, as: workloadToken('another') })).toMatchObject({ status: 200, body: { text: 'new' } })
})
`
