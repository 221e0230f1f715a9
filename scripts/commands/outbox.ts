import { readFile } from 'node:fs/promises'
import { hasOutbox, type ServiceDefinition, type SystemDefinition, sendsCommands } from '@fairlead/chassis'
import { someSettings } from '@fairlead/infra/tools'
import pg from 'pg'
import { loadApp } from '../app.ts'
import { openCluster } from '../cluster/cluster.ts'
import { reachDatabase } from '../cluster/database.ts'
import { defineCommand } from '../command.ts'
import { fairlead, toRun } from '../remedy.ts'
import { CommandError, say, usageError } from '../terminal.ts'

/** Of a parked message, how many of its subject it blocks; of any, which one it waits for. */
const LIST = `
  select id, kind, version, subject_id as "subjectId", attempts, last_error as "lastError", created_at as "createdAt", parked_at as "parkedAt",
    case when parked_at is null then 0
      else (select count(*)::int from outbox later where later.subject_id = outbox.subject_id and later.sequence > outbox.sequence) end as blocks,
    (select earlier.id from outbox earlier where earlier.subject_id = outbox.subject_id and earlier.sequence < outbox.sequence
      order by earlier.sequence limit 1) as "waitsFor"
  from outbox`

interface Row {
  id: string
  kind: string
  version: number
  subjectId: string
  attempts: number
  lastError: string | null
  blocks: number
  waitsFor: string | null
}

const WAITING = `(select count(*)::int from outbox later
  where later.subject_id = outbox.subject_id and later.sequence > outbox.sequence and later.id <> all($1)) as waiting`

const CHANGES = {
  retry: {
    sql: `update outbox set parked_at = null, attempts = 0, due_at = now() where id = any($1) and parked_at is not null returning id, ${WAITING}`,
    outcome: 'follow once delivered',
  },
  drop: { sql: `delete from outbox where id = any($1) and parked_at is not null returning id, ${WAITING}`, outcome: 'of the same subjects go on' },
} as const

type Work = (client: pg.Client) => Promise<number>

const list =
  ({ all, json }: { all?: true; json?: true }): Work =>
  async client => {
    const { rows } = await client.query<Row>(`${LIST} ${all ? '' : 'where parked_at is not null'} order by id limit 1000`)
    if (json) process.stdout.write(`${JSON.stringify(rows)}\n`)
    else if (rows.length === 0) say(all ? 'nothing is there' : 'nothing is parked')
    else for (const row of rows) process.stdout.write(`${line(row)}\n`)
    return 0
  }

const line = ({ id, kind, version, subjectId, attempts, lastError, blocks, waitsFor }: Row): string =>
  [
    id,
    version === 1 ? kind : `${kind} (version ${version})`,
    subjectId,
    `${attempts} attempts`,
    ...(lastError === null ? [] : [lastError]),
    ...(blocks > 0 ? [`blocks ${blocks} of its subject`] : []),
    ...(waitsFor === null ? [] : [`waits for ${waitsFor}`]),
  ].join('  ')

const change =
  (command: keyof typeof CHANGES, ids: readonly string[]): Work =>
  async client => {
    const { sql, outcome } = CHANGES[command]
    const { rows } = await client.query<{ id: string; waiting: number }>(sql, [ids])
    const unknown = ids.filter(id => !rows.some(row => row.id === id))
    const waiting = rows.reduce((sum, row) => sum + row.waiting, 0)
    const told = [
      `${command}: ${rows.length} of ${ids.length}`,
      ...(waiting > 0 ? [`${waiting} ${outcome}`] : []),
      ...(unknown.length > 0 ? [`not parked: ${unknown.join(', ')}`] : []),
    ]
    say(told.join('; '))
    return unknown.length > 0 ? 1 : 0
  }

/** @throws CommandError, exit code 2, before anything is asked of a database */
function workOf(command: string, ids: readonly string[], options: { all?: true; json?: true }): Work {
  if (command === 'list') {
    if (ids.length > 0) throw usageError('list takes no ids: it lists all')
    return list(options)
  }
  if (command !== 'retry' && command !== 'drop') throw usageError(`'${command}' is no action of outbox: list, retry or drop`)
  if (ids.length === 0) throw usageError(`${command} takes the ids of parked messages; see 'list'`)
  const illegal = ids.find(id => !/^[0-9a-f-]{36}$/.test(id))
  if (illegal) throw usageError(`'${illegal}' is not a message's id`)
  return change(command, ids)
}

const ofStart = (service: string) => {
  const file = `.data/database-urls/${service}`
  const none = new CommandError(
    `fairlead start has made no database of ${service} here (${file}); --context NAME is for a cluster`,
    toRun('npx fairlead start'),
  )
  return inFile(file, none)
}

async function inFile(file: string, otherwise: CommandError): ReturnType<typeof reachDatabase> {
  const url = await readFile(file, 'utf8').catch(() => {
    throw otherwise
  })
  return { connection: { connectionString: url.trim() }, close: async () => {} }
}

const inCluster = (context: string, name: string, system: SystemDefinition) =>
  reachDatabase(openCluster(context), { name }, someSettings(process.env, system, 'NAMESPACE', 'DATABASE'))

export const outbox = defineCommand({
  name: 'outbox',
  summary: 'List, retry or drop parked messages',
  description: `Messages of the outbox that can never be delivered are parked and stay until somebody decides. Later ones of the same subject wait for them.

  list       parked messages, oldest first, and how many each blocks; --all also those under way

  retry ID   due again at once, with the count of attempts at zero; those that wait follow

  drop ID    removed; what they were to do will not be done, and those that wait go on`,
  examples: ['npx fairlead outbox list', 'npx fairlead outbox retry ID --context NAME', 'npx fairlead outbox drop ID ID --service SERVICE'],
  options: command =>
    command
      .argument('<action>', 'list, retry or drop')
      .argument('[ids...]', 'ids of parked messages')
      .option('--context <name>', 'of the system in this cluster, a context of the kubeconfig, instead of the one of start')
      .option('--service <name>', 'whose outbox, instead of that of the first service that sends commands')
      .option('--database-url-file <file>', 'any other database, by a file with its URL')
      .option('--all', 'list also what is under way')
      .option('--json', 'list as JSON'),
  run: async (flags, { words: [action, ids] }) => {
    const work = workOf(action, ids, flags)
    const { system } = await loadApp()
    const holding = (system.services as readonly ServiceDefinition[]).filter(hasOutbox)
    const owners = [...holding.filter(sendsCommands), ...holding.filter(service => !sendsCommands(service))].map(({ name }) => name)
    const [first] = owners
    if (first === undefined) throw new CommandError('no service of this system has a database, so that none has an outbox')
    const { context, databaseUrlFile: file, service = first } = flags
    if (file !== undefined && (context ?? flags.service) !== undefined)
      throw usageError('--database-url-file names a database by itself; leave out --context and --service')
    if (!owners.includes(service)) throw usageError(`--service '${service}' has no outbox: name one of ${owners.join(', ')}`)
    const place =
      context === undefined
        ? await (file === undefined ? ofStart(service) : inFile(file, usageError(`--database-url-file ${file} cannot be read`)))
        : await inCluster(context, service, system)
    // The server gives up first: what only the client gave up would still be done.
    const client = new pg.Client({ ...place.connection, connectionTimeoutMillis: 5_000, statement_timeout: 8_000, query_timeout: 10_000 })
    try {
      await client.connect().catch((error: Error) => {
        throw new CommandError(
          `the database cannot be reached: ${error.message || (error as NodeJS.ErrnoException).code}`,
          context === undefined ? { advice: 'does npx fairlead start run? --context NAME is for a cluster' } : toRun(fairlead(context, 'status')),
        )
      })
      return await work(client)
    } catch (error) {
      throw error instanceof CommandError ? error : new CommandError(`the database refuses: ${(error as Error).message}`)
    } finally {
      await client.end().catch(() => {})
      await place.close()
    }
  },
})
