-- Up Migration
create table products (
  sku text primary key,
  name text not null,
  description text not null,
  price_amount bigint not null check (price_amount >= 0),
  currency char(3) not null
);

insert into products (sku, name, description, price_amount, currency) values
  ('iphone-17', 'iPhone 17', 'Phone, 256 GB, black', 94900, 'EUR'),
  ('iphone-17-pro', 'iPhone 17 Pro', 'Phone, 256 GB, silver', 129900, 'EUR'),
  ('airpods-4', 'AirPods 4', 'Wireless earphones', 14900, 'EUR'),
  ('usb-c-cable', 'USB-C cable', 'Two metres, 240 W', 3500, 'EUR'),
  ('phone-case', 'Phone case', 'Recycled plastic', 2900, 'EUR');

-- Items are a copy of what was offered at the time: sku, name, quantity and price each.
create table orders (
  id uuid primary key,
  user_id uuid not null,
  state text not null check (state in ('pending', 'confirmed', 'rejected', 'cancelling', 'cancelled')),
  version integer not null default 1,
  items jsonb not null,
  total_amount bigint not null check (total_amount >= 0),
  currency char(3) not null,
  rejection_code text,
  created_at timestamptz not null default now(),
  check ((state = 'rejected') = (rejection_code is not null))
);
create index orders_user on orders (user_id, id desc);

create table idempotency_keys (
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
create index idempotency_keys_age on idempotency_keys (created_at);

create table outbox (
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
create index outbox_due on outbox (due_at) where parked_at is null;

-- Down Migration
drop table outbox, idempotency_keys, orders, products;
