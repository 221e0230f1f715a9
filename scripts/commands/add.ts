import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type App, protoFiles } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { defineCommand } from '../command.ts'
import { type Names, namesOf } from '../templates/names.ts'
import { freePortBeside } from '../templates/port.ts'
import { MARKS, usersLine } from '../templates/repository.ts'
import { type CommandTemplate, serviceFiles } from '../templates/service.ts'
import { writeFiles } from '../templates/write-files.ts'
import { say, usageError } from '../terminal.ts'

const SYSTEM = join('infra', 'system.ts')

export const add = defineCommand({
  name: 'add',
  summary: 'Add a service to the system of this folder',
  description: `Writes services/NAME and its test, and adds it to ${SYSTEM}. It runs as it is; replace the sample code with your own.`,
  examples: ['npx fairlead add service stock', 'npx fairlead add service booking --database --users --command stock.updateStock'],
  options: command =>
    command
      .argument('<what>', 'service')
      .argument('<name>', 'name of the service')
      .option('--calls <names>', 'services that it calls, separated by commas')
      .option('--database', 'it stores what it is given')
      .option('--grpc', 'it is served by gRPC as well; brings its .proto')
      .option('--users', 'its operations are for logged-in users')
      .option('--command <service.operation>', 'it tells another service of what it stores, through its outbox; brings --database'),
  run: async (flags, { words: [what, given] }) => {
    if (what !== 'service') throw usageError(`'${what}' cannot be added: fairlead add service NAME`)
    const app = await loadApp()
    const names = namesOf('service', given)
    const { services } = app.system
    if (services.some(({ name }) => name === names.name)) throw usageError(`the system has a service ${names.name} already`)
    const command = flags.command === undefined ? undefined : commandOf(app, flags.command)
    const called = new Set([...(flags.calls?.split(',') ?? []), ...(command ? [command.to.name] : [])])
    const calls = [...called].map(name => calleeOf(app, '--calls', name))
    const database = flags.database === true || command !== undefined
    const port = freePortBeside(services)
    const grpcPort = flags.grpc ? freePortBeside([...services, { port }]) : undefined
    const root = rootOf(app)
    const template = { ...names, port, calls, database, users: flags.users === true, ...(command && { command }), ...(grpcPort && { grpcPort }) }
    await writeFiles(root, serviceFiles(template))
    if (grpcPort) await writeProto(root, names)
    say(`services/${names.name} and test/${names.name}.test.ts are there, at port ${port}${grpcPort ? `, by gRPC at ${grpcPort}` : ''}`)
    const lines = [
      { mark: MARKS.imports, line: importOf(names), said: importOf(names) },
      { mark: MARKS.services, line: `${names.value},`, said: `services: [..., ${names.value}]` },
      ...(flags.users && !app.system.users ? [{ mark: MARKS.users, line: usersLine(app.system.name), said: usersLine(app.system.name) }] : []),
    ]
    if (await addToSystem(join(root, SYSTEM), lines)) say(`Added to ${SYSTEM}. Next: add a step to infra/journey.ts`)
    else process.stdout.write(`${SYSTEM} lacks a marked place; add to it:\n${lines.map(({ said }) => `  ${said}\n`).join('')}`)
    return 0
  },
})

const rootOf = ({ root }: App): string => (String(root).startsWith('file:') ? fileURLToPath(String(root)) : String(root))

/** The .proto of a contract that has just been written. */
async function writeProto(root: string, { name, value }: Names): Promise<void> {
  const { [`${value}Contract`]: contract } = await import(pathToFileURL(join(root, 'services', name, 'contract.ts')).href)
  await writeFiles(root, Object.fromEntries(protoFiles({ name, contract }).files))
}

function calleeOf({ system: { services } }: App, flag: string, name: string): Names {
  if (services.some(service => service.name === name)) return namesOf('service', name)
  throw usageError(`${flag} ${name}: the system has no such service; it has ${services.map(service => service.name).join(', ')}`)
}

/** @throws CommandError, exit code 2, for an operation that what is written here cannot send */
function commandOf(app: App, given: string): CommandTemplate {
  const [name = '', operation = ''] = given.split('.')
  const to = calleeOf(app, '--command', name)
  const contract = app.system.services.find(service => service.name === name)?.contract ?? {}
  const able = Object.keys(contract).filter(key => contract[key]?.auth === 'workload' && ['PUT', 'DELETE'].includes(contract[key].method))
  const found = contract[operation]
  if (!found || !able.includes(operation))
    throw usageError(`--command ${given}: it takes a PUT or DELETE operation with auth 'workload'; ${name} has ${able.join(', ') || 'none'}`)
  const [params, body, answer] = [found.params, found.body, found.responses[200]?.body].map(membersOf)
  if (`${params} ${body} ${answer}` !== 'id text id,text')
    throw usageError(
      `--command ${given}: what is written here sends { id } and { text } and gets both back; write a command with other members by hand`,
    )
  return { to, operation }
}

const membersOf = (schema: unknown): string[] => Object.keys((schema as { shape?: object } | undefined)?.shape ?? {}).sort()

const importOf = ({ name, value }: Names) => `import { ${value} } from '../services/${name}/service.ts'`

interface Addition {
  /** The line goes above this one. */
  mark: string
  line: string
  /** What to write by hand, where there is no mark. */
  said: string
}

/** Writes all lines or none. @returns whether it did: every marked place was there */
async function addToSystem(file: string, lines: readonly Addition[]): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const added = lines.reduce<string | undefined>((before, { mark, line }) => before && above(before, mark, line), text)
  if (added === undefined) return false
  await writeFile(file, added)
  return true
}

/** The text with a line above the marked one, as far in as that. */
function above(text: string, mark: string, line: string): string | undefined {
  const [, indent] = new RegExp(`^([ \\t]*)${RegExp.escape(mark)}`, 'm').exec(text) ?? []
  return indent === undefined ? undefined : text.replace(`${indent}${mark}`, () => `${indent}${line}\n${indent}${mark}`)
}
