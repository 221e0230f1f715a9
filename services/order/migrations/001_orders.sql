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

-- Down Migration
drop table orders, products;
