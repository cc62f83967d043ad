-- Of which line of history the counter is. A database that was restored from a copy, or a standby that took over, may lack the last versions that were told; in
-- another line the counter leaps beyond all of them. Null: none was noted yet.
alter table cluster_rv add column lineage text;

-- Cluster, database, the file of the counter, and timeline: a copy elsewhere, a restore into the same database and a promotion each have another. Null: the
-- database does not say, or is a standby.
create function lineage_now() returns text language plpgsql stable as $$
begin
    return format('%s/%s/%s/%s', (select system_identifier from pg_control_system()),
                  (select oid from pg_database where datname = current_database()), pg_relation_filenode('cluster_rv'),
                  left(pg_walfile_name(pg_current_wal_lsn()), 8));
exception when undefined_function or insufficient_privilege or feature_not_supported or object_not_in_prerequisite_state then
    return null;
end $$;

-- Versions go on beyond `told` and beyond every earlier leap: at the clock, which no two leaps share, or far beyond both where it is behind. Nothing before is
-- history. Claims leap too: agents refuse lower numbers than they have seen, and whoever held one takes it anew.
create function lineage_leap(told bigint) returns void language plpgsql as $$
declare beyond bigint; clock bigint := (extract(epoch from clock_timestamp()) * 1e6)::bigint;
begin
    update claim set number = greatest(number + 1000000, clock), expires_at = clock_now();
    update cluster_rv set rv = case when clock > greatest(rv, told) then clock else greatest(rv, told) + 1000000000 end
        returning rv into beyond;
    update cluster_rv set compacted = rv;
    raise warning 'the database was restored from a copy, or another server has taken over for it: versions go on at %, and everyone lists again', beyond;
end $$;

-- Takes the database's line for that of the counter, which leaps unless it had none.
create function lineage_take() returns void language plpgsql as $$
declare before text; present text := lineage_now();
begin
    if present is null or (select lineage is not distinct from present from cluster_rv) then
        return;
    end if;
    -- One of those who come at once. Claims are locked before the counter, as by everyone.
    perform from claim order by machine_uid for update;
    select lineage into before from cluster_rv for update;
    if before is not distinct from present then
        return;
    end if;
    if before is not null then
        perform lineage_leap(0);
    end if;
    update cluster_rv set lineage = present;
end $$;
