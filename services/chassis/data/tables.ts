import type { Client } from 'pg'
import { STEPS, type Table } from './table-steps.ts'

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
      if (step.makes) await refuseOther(client, step.makes)
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

async function refuseOther(client: Client, { table, holds, columns }: Table): Promise<void> {
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
