create table items (sku text primary key, held integer not null default 0);
