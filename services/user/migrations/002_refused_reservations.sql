-- Up Migration
-- For their retention.
create index reservations_refused on reservations (decided_at) where state = 'refused';

-- Down Migration
drop index reservations_refused;
