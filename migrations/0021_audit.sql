-- Who did what: every write, every refusal, every event of a lease. Rows are added, and forgotten when they are old; nothing else can be done with them.
create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_now(),
    -- Empty: the call did not say believably.
    who text not null,
    groups text[] not null default '{}',
    impersonator text,
    verb text not null,
    -- Of a path that is no resource these five are empty.
    grp text not null default '',
    resource text not null default '',
    subresource text not null default '',
    ns text not null default '',
    name text not null default '',
    path text not null default '',
    peer text not null default '',
    decision text not null check (decision in ('Allow', 'Deny')),
    reason text not null default '',
    -- HTTP status code; 499: the client went away first; 0: no call.
    code integer not null default 0,
    trace text
);
create index audit_at on audit (at);

create function audit_is_append_only() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('torch_remote.audit_forgets', true) = pg_current_xact_id()::text then
        if old.at < clock_now() - interval '1 day' then
            return old;
        end if;
    end if;
    raise exception 'the table audit is append-only: % is refused', tg_op using hint = 'old rows go by audit_forget(interval)', errcode = 'restrict_violation';
end $$;
create trigger audit_append_only before update or delete on audit for each row execute function audit_is_append_only();
create trigger audit_never_truncated before truncate on audit for each statement execute function audit_is_append_only();

-- Forgets some of the rows older than this, but none of the last day; returns how many.
create function audit_forget(older interval) returns bigint language plpgsql as $$
declare gone bigint;
begin
    perform set_config('torch_remote.audit_forgets', pg_current_xact_id()::text, true);
    delete from audit where id in (select id from audit where at < clock_now() - greatest(older, interval '1 day') order by at limit 5000);
    get diagnostics gone = row_count;
    perform set_config('torch_remote.audit_forgets', '', true);
    return gone;
end $$;

-- What becomes of a lease is written in the transaction in which it does.
create function audit_lease(lease uuid, what text, why text) returns void language sql as $$
    insert into audit (who, verb, grp, resource, ns, name, decision, reason)
    select 'system:control-plane', what, 'torchremote.dev', 'deviceleases', coalesce(o.ns, ''), coalesce(o.name, lease::text), 'Allow',
           concat_ws('; ', 'holder ' || (o.body #>> '{status,holder}'), nullif(why, ''))
    from (select) as one left join object o on o.uid = lease
$$;

create function audit_lease_state() returns trigger language plpgsql as $$
begin
    perform audit_lease(new.lease_uid, case new.state when 'Bound' then 'grant' when 'Waiting' then 'wait' else 'end' end,
                        case new.state when 'Ended' then concat_ws(': ', new.end_reason, new.end_message) when 'Waiting' then 'put back' else '' end);
    return null;
end $$;
create trigger audit_lease_state after update of state on lease_live for each row when (old.state is distinct from new.state)
    execute function audit_lease_state();

create function audit_lease_bound() returns trigger language plpgsql as $$
begin
    perform audit_lease(new.lease_uid, 'bind', format('machine %s slot %s epoch %s', new.terms ->> 'machine', new.slot, new.epoch));
    return null;
end $$;
create trigger audit_lease_bound after update of acked_at on binding for each row when (old.acked_at is null and new.acked_at is not null)
    execute function audit_lease_bound();
