-- Up Migration
-- Messages are named after the command that they bring, and carry what its operation is called with. Pods of the version before go on writing theirs
-- until the rollout ends: each is renamed when somebody claims it or puts it back. What such a pod parks, because it does not know the new names, is
-- due again. The release after this one drops the trigger.
create function outbox_rename() returns trigger language plpgsql as $$
begin
  if new.kind = 'reserve-credit' then
    new.kind := 'user.reserveCredit';
    new.payload := jsonb_build_object(
      'params', jsonb_build_object('orderId', new.subject_id),
      'body', jsonb_build_object('userId', new.payload -> 'userId', 'total', jsonb_build_object('amount', new.payload -> 'amount', 'currency', 'EUR'))
    );
  elsif new.kind = 'release-credit' then
    new.kind := 'user.releaseCredit';
    new.payload := jsonb_build_object('params', jsonb_build_object('orderId', new.subject_id));
  end if;
  if old.parked_at is null and new.parked_at is not null and new.last_error = 'unknown-kind' and new.kind in ('user.reserveCredit', 'user.releaseCredit') then
    new.parked_at := null;
    new.due_at := now() + interval '1 second';
  end if;
  return new;
end $$;
create trigger outbox_rename before update on outbox for each row execute function outbox_rename();
update outbox set kind = kind where kind in ('reserve-credit', 'release-credit');

-- Down Migration
drop trigger outbox_rename on outbox;
drop function outbox_rename;
