-- The current state of every object, the history behind watches, and the one counter that orders them.

-- One row. Its update is the last lock each write takes, so versions become visible in the order of their numbers and without gaps.
create table cluster_rv (
    one bool primary key default true check (one),
    rv bigint not null,
    -- Versions up to this one have left object_log.
    compacted bigint not null
) with (fillfactor = 10);
insert into cluster_rv (rv, compacted) values (1, 1);

create table object (
    grp text not null,
    plural text not null,
    ns text not null default '',
    name text not null,
    uid uuid not null unique,
    -- Last change of this object; 0 only inside the transaction that creates it.
    rv bigint not null,
    deleting bool not null default false,
    labels jsonb not null,
    body jsonb not null,
    primary key (grp, plural, ns, name)
);
create index object_labels on object using gin (labels jsonb_path_ops);

-- For garbage collection; maintained with the object.
create table owner (
    owner_uid uuid not null,
    dependent_uid uuid not null references object (uid) on delete cascade,
    primary key (owner_uid, dependent_uid)
);

-- kind: A added, M modified, D deleted. prev: the state before, for selector transitions and for lists as of an older version.
create table object_log (
    rv bigint primary key,
    at timestamptz not null default now(),
    grp text not null,
    plural text not null,
    ns text not null,
    name text not null,
    kind text not null check (kind in ('A', 'M', 'D')),
    body jsonb not null,
    prev jsonb
);
create index object_log_resource on object_log (grp, plural, rv);

-- The one clock for waits, durations and leases. Only tests set the offset.
create table clock (
    one bool primary key default true check (one),
    offset_ms bigint not null default 0
);
insert into clock default values;

create function clock_now() returns timestamptz language sql stable as
$$ select now() + offset_ms * interval '1 millisecond' from clock $$;
