import type { CommandTemplate, ServiceTemplate } from './service.ts'

/** A service that stores what it is given, and may tell another of it by a command. */
export const storingService = (template: ServiceTemplate) => ({
  'contract.ts': contract(template),
  'store.ts': store(template),
  'start.ts': start(template),
  [`migrations/001_${template.name}.sql`]: MIGRATION,
  test: test(template),
})

const contract = ({ name, value, noun, users, command }: ServiceTemplate) => `import { defineContract, id, strict } from '@fairlead/chassis'
import { z } from 'zod'

const ${value} = strict({ id, text: z.string()${command ? ", state: z.enum(['pending', 'done', 'refused'])" : ''} }).meta({ title: '${noun}' })
const params = z.object({ id })

export const ${value}Contract = defineContract({
  put${noun}: {
    method: 'PUT',
    path: '/${name}/{id}',
    summary: '${command ? `Create a ${name}` : `Create or replace a ${name}`}',
    auth: '${users ? 'user' : 'none'}',
    params,
    body: strict({ text: z.string().max(200) }),
    responses: { ${command ? '202' : '200'}: { description: '${command ? 'Accepted' : 'Stored'}', body: ${value} } },${
      users || command ? "\n    problems: { 409: ['id-taken'] }," : ''
    }
  },
  get${noun}: {
    method: 'GET',
    path: '/${name}/{id}',
    summary: 'Get a ${name}',
    auth: '${users ? 'user' : 'none'}',
    params,
    responses: { 200: { description: 'The ${name}', body: ${value} } },
    problems: { 404: ['unknown-${name}'] },
  },
})
`

const MIGRATION = `create table items (
  id uuid primary key,
  owner text not null,
  text text not null,
  state text not null
);
`

const columns = (command: CommandTemplate | undefined) => (command ? 'id, text, state' : 'id, text')

const store = ({ value, noun, command }: ServiceTemplate) => `import type { Scope } from '@fairlead/chassis'
import { type Queries, statement } from '@fairlead/chassis/data'

export interface ${noun} {
  id: string
  text: string${command ? "\n  state: 'pending' | 'done' | 'refused'" : ''}
}

const ${command ? 'INSERT' : 'PUT'} = statement<${noun}>(
  '${value}-${command ? 'insert' : 'put'}',
  \`insert into items (id, owner, text, state) values ($1, $2, $3, 'pending')
    ${command ? 'on conflict (id) do nothing' : 'on conflict (id) do update set text = excluded.text where items.owner = excluded.owner'}
    returning ${columns(command)}\`,
)
const FIND = statement<${noun}>('${value}-find', 'select ${columns(command)} from items where id = $1 and owner = $2')
${command ? `const SETTLE = statement('${value}-settle', 'update items set state = $2 where id = $1')\n` : ''}
/** @returns ${command ? 'what was stored; nothing, where the id is taken' : 'what is stored now; nothing, where another owner has that id'} */
export async function ${command ? 'insert' : 'put'}${noun}(queries: Queries, scope: Scope, { id, text }: { id: string; text: string }, owner: string): Promise<${noun} | undefined> {
  const [stored] = await queries.query(scope, ${command ? 'INSERT' : 'PUT'}, [id, owner, text])
  return stored
}

export async function find${noun}(queries: Queries, scope: Scope, id: string, owner: string): Promise<${noun} | undefined> {
  const [found] = await queries.query(scope, FIND, [id, owner])
  return found
}
${
  command
    ? `
export const settle${noun} = (queries: Queries, scope: Scope, id: string, state: 'done' | 'refused') => queries.query(scope, SETTLE, [id, state])
`
    : ''
}`

const start = (template: ServiceTemplate) => {
  const { name, value, noun, users, command } = template
  const owner = users ? 'principal.id' : "'everybody'"
  const principal = users ? 'principal, ' : ''
  return `import { Failure, implement } from '@fairlead/chassis'
import { ${value} } from './service.ts'
import { find${noun}, ${command ? `insert${noun}, settle${noun}` : `put${noun}`} } from './store.ts'

export const ${value}Service = implement(${value}, {
  migrations: new URL('./migrations/', import.meta.url),
  start: ({ database${command ? ', outbox' : ''} }) => ({
    handlers: {
      put${noun}: async ({ scope, ${principal}params: { id }, body: { text } }) => {
        ${
          command
            ? `return database.transaction(scope, async tx => {
          const made = await insert${noun}(tx, scope, { id, text }, ${owner})
          // The same request again gets the same answer, and sends nothing more.
          const stored = made ?? (await find${noun}(tx, scope, id, ${owner}))
          if (stored?.text !== text) throw new Failure('conflict', 'id-taken', 'There is another ${name} with this id')
          // Written with the row, delivered at least once.
          if (made) await outbox.send(tx, scope, '${command.to.name}.${command.operation}', id, { params: { id }, body: { text } })
          return { status: 202, body: stored }
        })`
            : `const stored = await put${noun}(database, scope, { id, text }, ${owner})
        if (!stored) throw new Failure('conflict', 'id-taken', 'The id belongs to somebody else')
        return { status: 200, body: stored }`
        }
      },
      get${noun}: async ({ scope, ${principal}params: { id } }) => {
        const found = await find${noun}(database, scope, id, ${owner})
        if (!found) throw new Failure('not-found', 'unknown-${name}', 'There is no such ${name}')
        return { status: 200, body: found }
      },
    },${
      command
        ? `
    // Runs in the transaction that removes the message.
    settle: {
      '${command.to.name}.${command.operation}': (answer, { tx, scope, subject }) => settle${noun}(tx, scope, subject, 'problem' in answer ? 'refused' : 'done'),
    },`
        : ''
    }
  }),
})
`
}

const test = ({ name, value, noun, users, command }: ServiceTemplate) => {
  const as = users ? "as: userToken('ada'), " : ''
  const run = command
    ? `runService(${value}Service, { callees: { ${propertyOf(command.to.name)}: ${command.to.value}StandIn } })`
    : `runService(${value}Service)`
  return `import { newId } from '@fairlead/chassis'
import { runService${command ? ', standIn' : ''}${users ? ', userToken' : ''} } from '@fairlead/chassis/testing'
import { expect, test } from 'vitest'
${command ? `import { ${command.to.value} } from '../services/${command.to.name}/service.ts'\n` : ''}import { ${value}Service } from '../services/${name}/start.ts'
${command ? standInOf(command) : ''}
test('stores a ${name}${command ? `, and settles it once ${command.to.name} has answered` : ''}', async () => {
  await using service = await ${run}
  const ask = { ${as}params: { id: newId() } }
  expect(await service.call('put${noun}', { ...ask, body: { text: 'Hello' } })).toMatchObject({ status: ${command ? '202' : '200'} })
${command ? `  await service.outboxEmpty()\n  expect(await service.call('put${noun}', { ...ask, body: { text: 'Another' } })).toMatchObject({ status: 409 })\n` : ''}  expect(await service.call('get${noun}', ask)).toMatchObject({ status: 200, body: { text: 'Hello'${command ? ", state: 'done'" : ''} } })
  expect(await service.call('get${noun}', { ...ask, params: { id: newId() } })).toMatchObject({ status: 404 })
})
${
  users
    ? `
test('keeps a ${name} to its owner', async () => {
  await using service = await ${run}
  const params = { id: newId() }
  await service.call('put${noun}', { as: userToken('ada'), params, body: { text: 'Hello' } })
  const eve = { as: userToken('eve'), params }
  expect(await service.call('get${noun}', eve)).toMatchObject({ status: 404 })
  expect(await service.call('put${noun}', { ...eve, body: { text: 'Mine' } })).toMatchObject({ status: 409 })
})
`
    : ''
}`
}

const propertyOf = (name: string) => (name.includes('-') ? `'${name}'` : name)

const standInOf = ({ to, operation }: CommandTemplate) => `
const ${to.value}StandIn = standIn(${to.value}, { ${operation}: ({ params: { id }, body: { text } }) => ({ status: 200, body: { id, text } }) })
`
