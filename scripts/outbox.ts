import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'

const HELP = `npm run outbox -- <list|retry|drop> [id ...] [options]

Messages of the outbox that can never be delivered are parked and wait for a person.

  list             parked messages, oldest first; --all also those under way
  retry ID ...     due again at once, with the count of attempts at zero
  drop ID ...      removed; what they were to do will not be done

  --database-url-file FILE   whose outbox (default: .data/database-urls/order, the one of npm start)
  --json                     list as JSON
  --help                     this text
`

const COLUMNS = 'id, kind, subject_id as "subjectId", attempts, last_error as "lastError", created_at as "createdAt", parked_at as "parkedAt"'

/** A mistake of whoever called: told in one line, exit code 2. */
class UsageError extends Error {}

const { values, positionals } = (() => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        'database-url-file': { type: 'string', default: '.data/database-urls/order' },
        all: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exit(2)
  }
})()

async function run(client: pg.Client, [command, ...ids]: string[]): Promise<void> {
  if (command === 'list') return list(client)
  const statement = {
    retry: 'update outbox set parked_at = null, attempts = 0, due_at = now() where id = any($1) and parked_at is not null returning id',
    drop: 'delete from outbox where id = any($1) and parked_at is not null returning id',
  }[command ?? '']
  if (!statement) throw new UsageError(`'${command ?? ''}' is none of list, retry, drop; see --help`)
  if (ids.length === 0) throw new UsageError(`${command} takes the ids of parked messages; see 'list'`)
  const illegal = ids.find(id => !/^[0-9a-f-]{36}$/.test(id))
  if (illegal) throw new UsageError(`'${illegal}' is not a message's id`)
  const { rows } = await client.query<{ id: string }>(statement, [ids])
  const unknown = ids.filter(id => !rows.some(row => row.id === id))
  process.stderr.write(`${command}: ${rows.length} of ${ids.length}${unknown.length > 0 ? `; not parked: ${unknown.join(', ')}` : ''}\n`)
  if (unknown.length > 0) process.exitCode = 1
}

async function list(client: pg.Client): Promise<void> {
  const { rows } = await client.query(`select ${COLUMNS} from outbox ${values.all ? '' : 'where parked_at is not null'} order by id limit 1000`)
  if (values.json) process.stdout.write(`${JSON.stringify(rows)}\n`)
  else if (rows.length === 0) process.stderr.write('nothing is parked\n')
  else for (const row of rows) process.stdout.write(`${row.id}  ${row.kind}  ${row.subjectId}  ${row.attempts} attempts  ${row.lastError ?? ''}\n`)
}

if (values.help) process.stdout.write(HELP)
else {
  try {
    const url = await readFile(values['database-url-file'], 'utf8').catch(() => {
      throw new UsageError(`--database-url-file ${values['database-url-file']} cannot be read; has npm start run here?`)
    })
    const client = new pg.Client({ connectionString: url.trim(), connectionTimeoutMillis: 5_000, query_timeout: 10_000 })
    await client.connect()
    try {
      await run(client, positionals)
    } finally {
      await client.end()
    }
  } catch (error) {
    process.stderr.write(`${(error as Error).message || 'the database cannot be reached'}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}
