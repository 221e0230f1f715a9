/** A table that a step makes, and takes as it is when it is there already. */
export interface Table {
  table: string
  /** What the chassis keeps there, for the error when a table of that name has other columns. */
  holds: string
  /** As Postgres writes their types. */
  columns: Record<string, string>
}

/** A step towards the chassis' own tables, which every service with a database has. Later steps alter what earlier ones made. */
export interface Step {
  name: string
  ddl: string
  makes?: Table
}

// Whoever writes for a subject waits until everybody who wrote for it before has committed, so that numbers and commits have one order. It is a trigger
// since only what begins after the lock is taken sees what they wrote; a statement sees what was there when it began. It numbers also what pods
// of versions before this one write. The lock is the subject's, by the hash of its id; 1 keeps it apart from other locks.
// What waits for another is not attempted by its writer, so it needs no lease.
const NUMBER = `
      create function outbox_number() returns trigger language plpgsql as $$
      begin
        perform pg_advisory_xact_lock(uuid_hash_extended(new.subject_id, 1));
        new.sequence := coalesce((select max(sequence) from outbox where subject_id = new.subject_id), 0) + 1;
        if new.sequence > 1 then
          new.due_at := least(new.due_at, now());
        end if;
        return new;
      end $$;`

// `if not exists`: a service's own first migration may have made the table when the chassis had none.
export const STEPS: readonly Step[] = [
  {
    name: '001_idempotency_keys',
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
    makes: {
      table: 'idempotency_keys',
      holds: 'what requests with an Idempotency-Key were answered',
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
  },
  {
    name: '002_outbox',
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
    makes: {
      table: 'outbox',
      holds: 'commands that have not reached their service yet',
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
  },
  {
    name: '003_migration_checksums',
    ddl: 'create table if not exists migration_checksums (name text primary key, checksum text not null)',
    makes: {
      table: 'migration_checksums',
      holds: "checksums of the service's migrations as they ran",
      columns: { name: 'text not null', checksum: 'text not null' },
    },
  },
  {
    name: '004_outbox_order',
    ddl: `
      alter table outbox add column version smallint not null default 1, add column sequence bigint;
      update outbox set sequence = numbered.n
        from (select id, row_number() over (partition by subject_id order by id) as n from outbox) numbered where numbered.id = outbox.id;
      alter table outbox alter sequence set not null, drop constraint if exists outbox_subject_id_kind_key;
      create unique index outbox_order on outbox (subject_id, sequence);
      ${NUMBER}
      create trigger outbox_number before insert on outbox for each row execute function outbox_number()`,
  },
]
