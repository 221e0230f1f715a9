-- Up Migration
-- For the limits of one user. The second asks for the code: a settled order that was not rejected then changes nothing in it.
create index orders_open on orders (user_id) where state in ('pending', 'cancelling');
create index orders_refused on orders (user_id, created_at) where rejection_code is not null;

-- Down Migration
drop index orders_refused, orders_open;
