-- Up Migration
create table users (
  id uuid primary key,
  email text not null,
  email_key text not null unique,
  name text not null,
  password_hash text not null,
  created_at timestamptz not null default now()
);

create table credit_accounts (
  user_id uuid primary key references users (id),
  limit_amount bigint not null check (limit_amount >= 0),
  reserved_amount bigint not null default 0,
  currency char(3) not null,
  check (reserved_amount between 0 and limit_amount)
);

-- One row an order, for ever: the first decision is final, and a release may come before its reservation.
create table reservations (
  order_id uuid primary key,
  user_id uuid references users (id),
  amount bigint,
  currency char(3),
  state text not null check (state in ('reserved', 'refused', 'released')),
  decided_at timestamptz not null default now(),
  check (state = 'released' or (user_id is not null and amount is not null and currency is not null))
);
create index reservations_user on reservations (user_id) where state = 'reserved';

create table sessions (
  id uuid primary key,
  user_id uuid not null references users (id),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  ended_at timestamptz
);
create index sessions_user on sessions (user_id) where ended_at is null;
create index sessions_expiry on sessions (expires_at);

create table refresh_tokens (
  token_hash bytea primary key,
  session_id uuid not null references sessions (id) on delete cascade,
  expires_at timestamptz not null,
  used_at timestamptz
);
create index refresh_tokens_session on refresh_tokens (session_id);

-- Failed logins by a hash of what they are counted for, so that the table holds no addresses.
create table login_attempts (
  bucket bytea primary key,
  failures integer not null,
  window_ends_at timestamptz not null,
  succeeded_at timestamptz
);
create index login_attempts_expiry on login_attempts (window_ends_at);

-- Down Migration
drop table login_attempts, refresh_tokens, sessions, reservations, credit_accounts, users;
