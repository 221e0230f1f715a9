create table bookings (id uuid primary key, sku text not null);
