import type { Client } from 'pg'

/** A step towards the chassis' own tables, which every service with a database has. Later steps may alter what earlier ones made. */
interface Step {
  name: string
  table: string
  /** What the chassis keeps there, for the error when a table of that name exists already. */
  holds: string
  ddl: string
  /** Columns of the table after this step, as Postgres writes their types. */
  columns: Record<string, string>
}

// `if not exists`: a service's own first migration may have made the table when the chassis had none.
const STEPS: readonly Step[] = [
  {
    name: '001_idempotency_keys',
    table: 'idempotency_keys',
    holds: 'what requests with an Idempotency-Key were answered',
    ddl: `
      create table if not exists idempotency_keys (
        owner text not null,
        key text not null,
        fingerprint bytea not null,
        subject_id uuid not null,
        alive_until timestamptz not null,
        answer_status smallint,
        answer_body text,
        answer_location text,
        created_at timestamptz not null default now(),
        primary key (owner, key)
      );
      create index if not exists idempotency_keys_age on idempotency_keys (created_at)`,
    columns: {
      owner: 'text not null',
      key: 'text not null',
      fingerprint: 'bytea not null',
      subject_id: 'uuid not null',
      alive_until: 'timestamp with time zone not null',
      answer_status: 'smallint',
      answer_body: 'text',
      answer_location: 'text',
      created_at: 'timestamp with time zone not null',
    },
  },
  {
    name: '002_outbox',
    table: 'outbox',
    holds: 'commands that have not reached their service yet',
    ddl: `
      create table if not exists outbox (
        id uuid primary key,
        kind text not null,
        subject_id uuid not null,
        payload jsonb not null,
        traceparent text,
        attempts integer not null default 0,
        due_at timestamptz not null,
        parked_at timestamptz,
        last_error text,
        created_at timestamptz not null default now(),
        unique (subject_id, kind)
      );
      create index if not exists outbox_due on outbox (due_at) where parked_at is null`,
    columns: {
      id: 'uuid not null',
      kind: 'text not null',
      subject_id: 'uuid not null',
      payload: 'jsonb not null',
      traceparent: 'text',
      attempts: 'integer not null',
      due_at: 'timestamp with time zone not null',
      parked_at: 'timestamp with time zone',
      last_error: 'text',
      created_at: 'timestamp with time zone not null',
    },
  },
  {
    name: '003_migration_checksums',
    table: 'migration_checksums',
    holds: "checksums of the service's migrations as they ran",
    ddl: 'create table if not exists migration_checksums (name text primary key, checksum text not null)',
    columns: { name: 'text not null', checksum: 'text not null' },
  },
]

const RECORD = 'create table if not exists chassis_migrations (name text primary key, run_on timestamptz not null default now())'

/**
 * Creates the chassis' missing tables, in one transaction on the connection that migrates.
 * @returns the names of the steps that ran
 * @throws Error naming an existing table whose columns differ
 */
export async function makeTables(client: Client): Promise<string[]> {
  await client.query('begin')
  try {
    await client.query(RECORD)
    const { rows } = await client.query<{ name: string }>('select name from chassis_migrations')
    const missing = STEPS.filter(step => !rows.some(({ name }) => name === step.name))
    for (const step of missing) {
      await refuseOther(client, step)
      await client.query(step.ddl)
      await client.query('insert into chassis_migrations (name) values ($1)', [step.name])
    }
    await client.query('commit')
    return missing.map(({ name }) => name)
  } catch (error) {
    await client.query('rollback').catch(() => {})
    throw error
  }
}

const COLUMNS = `
  select attname as name, format_type(atttypid, atttypmod) || case when attnotnull then ' not null' else '' end as type,
    attnotnull and not atthasdef and attidentity = '' as wanted
  from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum`

async function refuseOther(client: Client, { table, holds, columns }: Step): Promise<void> {
  const { rows } = await client.query<{ name: string; type: string; wanted: boolean }>(COLUMNS, [table])
  if (rows.length === 0) return
  const found = new Map(rows.map(({ name, type }) => [name, type]))
  const differences = [
    ...Object.entries(columns).flatMap(([name, type]) => {
      const other = found.get(name)
      if (other === undefined) return [`${name} is missing`]
      return other === type ? [] : [`${name} is ${other}, not ${type}`]
    }),
    ...rows.filter(({ name, wanted }) => wanted && !(name in columns)).map(({ name }) => `${name} is not known and wants a value`),
  ]
  if (differences.length > 0)
    throw new Error(`the table ${table} has other columns than the chassis', which keeps there ${holds}; rename yours: ${differences.join(', ')}`)
}
