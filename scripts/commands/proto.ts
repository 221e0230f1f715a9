import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ProtoNumbers, ServiceDefinition } from '@fairlead/chassis'
import { numbersFile, numbersName, type ProtoFiles, protoFile, protoFiles } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { defineCommand } from '../command.ts'
import { freePortBeside } from '../templates/port.ts'
import { CommandError, say, usageError } from '../terminal.ts'
import { JSON_OUTPUT } from './options.ts'

interface Outcome extends ProtoFiles {
  service: ServiceDefinition
  /** Paths of files that are not what the contract gives. */
  drifted: string[]
}

const textOf = (path: string) => readFile(path, 'utf8').catch(() => undefined)

/** Those that the definition has; without `grpc`, those of a file that no definition names yet. */
async function numbersOf(service: ServiceDefinition): Promise<ProtoNumbers | undefined> {
  if (service.grpc) return service.grpc.numbers
  const file = resolve(numbersFile(service))
  return existsSync(file) ? (await import(pathToFileURL(file).href))[numbersName(service.name)] : undefined
}

async function look(service: ServiceDefinition): Promise<Outcome> {
  const made = protoFiles(service, { kept: await numbersOf(service), printed: await textOf(protoFile(service)) })
  const there = await Promise.all([...made.files.keys()].map(textOf))
  return { service, ...made, drifted: [...made.files].filter(([, content], i) => there[i] !== content).map(([path]) => path) }
}

async function write({ files }: Outcome): Promise<void> {
  for (const [path, content] of files) {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
  }
}

export const proto = defineCommand({
  name: 'proto',
  summary: "Write the .proto files of the system's services",
  description: `Writes proto/SERVICE/v1/SERVICE.proto from the contract of each service that is served by gRPC, or of those that are named, and
services/SERVICE/proto.ts with its numbers. What has a number keeps it. Run it after every change of a contract, and commit what it writes. It refuses,
with 1 and a line per field, what would break whoever has the messages of before.`,
  examples: ['npx fairlead proto', 'npx fairlead proto stock', 'npx fairlead proto --check'],
  options: command =>
    command
      .argument('[services...]', 'by name; also one that has no grpc in its definition yet')
      .option('--check', 'write nothing, and end with 1 when the files have drifted')
      .option('--breaking', 'write a change that breaks whoever has the messages of before; numbers of what is gone are reserved')
      .addOption(JSON_OUTPUT),
  run: async (flags, { words: [names] }) => {
    const { services } = (await loadApp()).system
    const asked = names.length > 0 ? names.map(name => serviceOf(services, name)) : services.filter(({ grpc }) => grpc)
    if (asked.length === 0) throw usageError('no service has grpc in its definition: name the one to begin with, npx fairlead proto SERVICE')
    const outcomes = await Promise.all(asked.map(look))
    if (flags.json) process.stdout.write(`${JSON.stringify(outcomes.map(asJson), null, 2)}\n`)
    const linesOf = (of: (one: Outcome) => string[]) => outcomes.flatMap(one => of(one).map(line => `${one.service.name}: ${line}`))
    refuse(
      'numbers cannot be as they are; take both files as they were before, and run this again',
      linesOf(one => one.wrong),
    )
    if (!flags.breaking)
      refuse(
        'whoever has the messages of before could not go on; npx fairlead proto --breaking writes it all the same',
        linesOf(one => one.breaking),
      )
    const drifted = outcomes.flatMap(one => one.drifted)
    if (flags.check) {
      if (drifted.length > 0) throw new CommandError(`not what the contracts give: ${drifted.join(', ')}; npx fairlead proto writes them`)
      say(`${outcomes.flatMap(({ files }) => [...files.keys()]).join(', ')} are what the contracts give`)
      return 0
    }
    for (const one of outcomes) await write(one)
    if (!flags.json) process.stdout.write(`${outcomes.flatMap(({ files }) => [...files.keys()]).join('\n')}\n`)
    const without = asked.filter(({ grpc }) => !grpc)
    const taken: Pick<ServiceDefinition, 'port' | 'grpc'>[] = [...services]
    for (const service of without) {
      const port = freePortBeside(taken)
      taken.push({ port })
      say(nextStep(service, port))
    }
    return 0
  },
})

const asJson = ({ service, files, drifted, breaking, wrong }: Outcome) => ({
  service: service.name,
  files: [...files.keys()],
  drifted,
  breaking,
  wrong,
})

function refuse(why: string, lines: string[]): void {
  if (lines.length > 0) throw new CommandError(`${why}:\n${lines.map(line => `  ${line}`).join('\n')}`)
}

function serviceOf(services: readonly ServiceDefinition[], name: string): ServiceDefinition {
  const service = services.find(one => one.name === name)
  if (service) return service
  throw usageError(`the system has no service ${name}; it has ${services.map(one => one.name).join(', ')}`)
}

const nextStep = ({ name }: ServiceDefinition, port: number) => `Next: add to services/${name}/service.ts
  import { ${numbersName(name)} } from './proto.ts'
  grpc: { port: ${port}, numbers: ${numbersName(name)} },`
