-- The same by the transactions that orders.sql stands for: what services/order/store.ts and the chassis do when a statement finds that it does not apply.
\set user random(1, 16)
\set key random(1, 1000000000000)

\startpipeline
begin;
set local statement_timeout = 2000;
set local lock_timeout = 2000;
\endpipeline
select pg_try_advisory_xact_lock(hashtextextended(:user || ' ' || :key, 0)) as locked;
select fingerprint, subject_id as "subjectId", alive_until > now() as alive, answer_status as status, answer_body as body, answer_location as location from idempotency_keys where owner = :user and key = :key and created_at > now() - interval '24 hours';
select sku, name, description, price_amount as price from products where sku = any('{iphone-17}');
insert into orders (id, user_id, state, items, total_amount, currency) select uuidv7(), ('00000000-0000-7000-8000-' || lpad(:user::text, 12, '0'))::uuid, 'pending', '[{"sku":"iphone-17","name":"iPhone 17","quantity": 1,"unitPrice":{"amount": 94900,"currency":"EUR"}}]'::jsonb, 94900, 'EUR' where (select count(*) from (select from orders where user_id = ('00000000-0000-7000-8000-' || lpad(:user::text, 12, '0'))::uuid and state in ('pending', 'cancelling') limit 100) open) < 100 and (select count(*) from (select from orders where user_id = ('00000000-0000-7000-8000-' || lpad(:user::text, 12, '0'))::uuid and rejection_code is not null and created_at > now() - interval '24 hours' limit 100) refused) < 100 returning id as order_id, user_id, state, version, items, total_amount as total, rejection_code, created_at \gset
insert into idempotency_keys (owner, key, fingerprint, subject_id, alive_until) values (:user, :key, sha256('{"items":[{"quantity": 1,"sku":"iphone-17"}]}'), :order_id, now() + 2500 * interval '1 millisecond') on conflict (owner, key) do update set fingerprint = excluded.fingerprint, subject_id = excluded.subject_id, alive_until = excluded.alive_until, created_at = now(), answer_status = null, answer_body = null, answer_location = null;
insert into outbox (id, kind, version, subject_id, payload, traceparent, due_at) values (uuidv7(), 'user.reserveCredit', 1, :order_id, '{"params":{"orderId":"0193a0c2-7b11-7a44-8f0e-2d3c4b5a6978"},"body":{"userId":"00000000-0000-7000-8000-000000000001","total":{"amount": 94900,"currency":"EUR"}}}', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03', now() + 2500 * interval '1 millisecond') returning id as message_id, kind, version, subject_id, sequence, payload, attempts, traceparent \gset
commit;

with held as (update credit_accounts set reserved_amount = reserved_amount + 94900 where user_id = ('00000000-0000-7000-8000-' || lpad(:user::text, 12, '0'))::uuid and currency = 'EUR' and reserved_amount + 94900 <= limit_amount and not exists (select from reservations where order_id = :order_id) returning user_id) insert into reservations (order_id, user_id, amount, currency, state) select :order_id, ('00000000-0000-7000-8000-' || lpad(:user::text, 12, '0'))::uuid, 94900, 'EUR', case when exists (select from held) then 'reserved' else 'refused' end where not exists (select from reservations where order_id = :order_id) returning state;

\startpipeline
begin;
set local statement_timeout = 2000;
set local lock_timeout = 2000;
\endpipeline
update orders set state = 'confirmed', version = version + 1, rejection_code = null where id = :order_id and state = any('{pending}') returning id, user_id, state, version, items, total_amount as total, rejection_code, created_at;
update idempotency_keys set answer_status = coalesce(answer_status, 201), answer_body = coalesce(answer_body, '{"id":"0193a0c2-7b11-7a44-8f0e-2d3c4b5a6978","state":"confirmed","items":[{"sku":"iphone-17","name":"iPhone 17","quantity": 1,"unitPrice":{"amount": 94900,"currency":"EUR"}}],"total":{"amount": 94900,"currency":"EUR"},"createdAt":"2026-11-24"}'), answer_location = case when answer_status is null then '/orders/0193a0c2-7b11-7a44-8f0e-2d3c4b5a6978' else answer_location end where owner = :user and key = :key returning answer_status as status, answer_body as body, answer_location as location;
delete from outbox where id = :message_id returning exists (select from outbox later where later.subject_id = outbox.subject_id and later.sequence > outbox.sequence) as more;
commit;
