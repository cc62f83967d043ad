-- Of which line of history the counter is. A database that was restored from a copy, or a standby that took over, may lack the last versions that were told; in
-- another line the counter leaps beyond all of them. Null: not known, for the database does not say.
alter table cluster_rv add column lineage text;

-- Cluster, database and timeline: each copy, restore and promotion has another.
create function lineage_now() returns text language plpgsql stable as $$
begin
    return format('%s/%s/%s', (select system_identifier from pg_control_system()),
                  (select oid from pg_database where datname = current_database()), left(pg_walfile_name(pg_current_wal_lsn()), 8));
exception when undefined_function or insufficient_privilege or feature_not_supported then
    return null;
end $$;
