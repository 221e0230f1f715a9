-- Up Migration
-- For the newest of one user.
create index sessions_of_user on sessions (user_id, created_at);

-- Down Migration
drop index sessions_of_user;
