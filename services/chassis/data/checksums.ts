import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Client } from 'pg'

/** Checksums of a service's migrations, by name. */
export type Checksums = ReadonlyMap<string, string>

const SUFFIX = '.sql'

/** Of the files as they are now, whatever a checkout made of their line endings. */
export async function checksumsIn(dir: string): Promise<Checksums> {
  const files = (await readdir(dir)).filter(file => file.endsWith(SUFFIX))
  const sum = async (file: string) =>
    createHash('sha256')
      .update((await readFile(join(dir, file), 'utf8')).replaceAll('\r\n', '\n'))
      .digest('hex')
  return new Map(await Promise.all(files.map(async file => [file.slice(0, -SUFFIX.length), await sum(file)] as const)))
}

/**
 * What ran does not run again, so an edited file would be a schema that no database has. Those that ran before there were checksums have none.
 * @throws Error naming the first file that changed after it ran
 */
export async function refuseChanged(client: Client, now: Checksums): Promise<void> {
  const { rows: known } = await client.query<{ name: string }>('select name from migration_checksums limit 1')
  // Before the first migration there is no table `migrations`.
  if (known.length === 0) return
  const { rows } = await client.query<{ name: string; checksum: string }>(
    'select name, checksum from migration_checksums where name in (select name from migrations) order by name',
  )
  const changed = rows.find(({ name, checksum }) => now.has(name) && now.get(name) !== checksum)
  if (changed) throw new Error(`${changed.name}${SUFFIX} changed after it ran here: restore it, and add a new one for the change`)
}

export async function recordChecksums(client: Client, names: readonly string[], now: Checksums): Promise<void> {
  const ran = names.filter(name => now.has(name))
  await client.query(
    `insert into migration_checksums (name, checksum) select * from unnest($1::text[], $2::text[])
     on conflict (name) do update set checksum = excluded.checksum`,
    [ran, ran.map(name => now.get(name))],
  )
}
