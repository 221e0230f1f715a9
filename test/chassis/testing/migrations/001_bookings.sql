create table bookings (
  id uuid primary key,
  owner text not null,
  state text not null
);
