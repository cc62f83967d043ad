-- What becomes of a lease has the trace of the call that made it.
create or replace function audit_lease(lease uuid, what text, why text) returns void language sql as $$
    insert into audit (who, verb, grp, resource, ns, name, decision, reason, trace)
    select 'system:control-plane', what, 'torchremote.dev', 'deviceleases', coalesce(o.ns, ''), coalesce(o.name, lease::text), 'Allow',
           concat_ws('; ', 'holder ' || (o.body #>> '{status,holder}'), nullif(why, '')),
           substring(o.body #>> '{metadata,annotations,torchremote.dev/traceparent}' from '^[0-9a-f]{2}-([0-9a-f]{32})-')
    from (select) as one left join object o on o.uid = lease
$$;
