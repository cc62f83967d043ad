-- Hot data of machines and leases: what changes too often, or must be too unique, to live in objects. All times are clock_now().

-- Which replica works on a machine. `number` grows with each change of hands; every write that follows from the claim names it.
create table claim (
    machine_uid uuid primary key,
    replica text not null,
    number bigint not null,
    acquired_at timestamptz not null,
    expires_at timestamptz not null
) with (fillfactor = 50);

-- One row per instance we ever asked a provider for, written before the asking. The token is its name at the provider.
create table machine_attempt (
    machine_uid uuid not null,
    number integer not null check (number > 0),
    token text not null unique,
    -- A run lasts from a launch to an end that is no failure; `timeout` counts from `run_at`.
    run integer not null,
    run_at timestamptz not null,
    -- Failures in a row before this attempt.
    failures integer not null,
    generation bigint not null,
    -- Of the parts of the spec an instance is made from.
    launch_hash text not null,
    state text not null default 'Intent' check (state in ('Intent', 'Created', 'Ending', 'Gone')),
    provider text not null,
    provider_id text,
    -- The provider's own record of the instance.
    record jsonb,
    intended_at timestamptz not null,
    created_at timestamptz,
    ready_at timestamptz,
    ending_at timestamptz,
    gone_at timestamptz,
    end_reason text,
    end_message text,
    primary key (machine_uid, number),
    check ((state = 'Gone') = (gone_at is not null))
);
create unique index machine_attempt_one_live on machine_attempt (machine_uid) where state <> 'Gone';

-- The agent as last heard. `boot_id` is new with each start of a supervisor.
create table agent_seen (
    machine_uid uuid primary key,
    attempt integer not null,
    boot_id text not null,
    agent_version text not null,
    torch_version text not null,
    device text not null,
    hello_at timestamptz not null,
    seen_at timestamptz not null
) with (fillfactor = 50);

-- A share of one GPU. `epoch` is the highest number ever given; it never falls, whatever instance serves the slot.
create table slot (
    machine_uid uuid not null,
    slot integer not null check (slot >= 0),
    gpu integer not null check (gpu >= 0),
    epoch bigint not null default 0 check (epoch >= 0),
    -- Offered by the agent that is heard now, and warmed at least once in its life.
    offered boolean not null default false,
    warm boolean not null default false,
    -- A bind was not acknowledged: nothing is bound until the agent has confirmed that the slot is empty.
    quarantined_at timestamptz,
    phase text not null default '',
    endpoint jsonb,
    silent_ms bigint not null default 0,
    idle_ms bigint not null default 0,
    live_storages bigint not null default 0,
    live_bytes bigint not null default 0,
    operators bigint not null default 0,
    seen_at timestamptz,
    primary key (machine_uid, slot)
) with (fillfactor = 50);

create function slot_epoch_grows() returns trigger language plpgsql as $$
begin
    if new.epoch < old.epoch then
        raise exception 'slot % of machine % would go back from epoch % to %', old.slot, old.machine_uid, old.epoch, new.epoch
            using errcode = 'check_violation', constraint = 'slot_epoch_grows';
    end if;
    return new;
end $$;
create trigger slot_epoch_grows before update on slot for each row execute function slot_epoch_grows();

-- The right of one lease to one slot at one epoch. Live until the agent says that the process is reaped, or the provider that the machine is gone.
create table binding (
    machine_uid uuid not null,
    slot integer not null,
    epoch bigint not null,
    lease_uid uuid not null,
    -- Which of the lease's rounds of binding; earlier rounds were put back.
    round integer not null,
    boot_id text not null,
    -- The parameters of the agent's Bind.
    terms jsonb not null,
    bound_at timestamptz not null,
    acked_at timestamptz,
    endpoints jsonb,
    refused text,
    session_at timestamptz,
    revoked_at timestamptz,
    revoke_reason text,
    revoke_message text,
    released_at timestamptz,
    release_reason text,
    release_message text,
    primary key (machine_uid, slot, epoch),
    foreign key (machine_uid, slot) references slot (machine_uid, slot)
);
create unique index binding_one_live_lease_per_slot on binding (machine_uid, slot) where released_at is null;
create index binding_lease on binding (lease_uid);

-- The hot half of a DeviceLease.
create table lease_live (
    lease_uid uuid primary key,
    state text not null default 'Waiting' check (state in ('Waiting', 'Bound', 'Ended')),
    created_at timestamptz not null,
    waiting_since timestamptz not null,
    -- Rounds of binding so far; one that was put back goes before all others of its queue, after a little rest.
    round integer not null default 0,
    put_back integer not null default 0,
    not_before timestamptz,
    -- Null: made without the SDK, which renews its wait.
    renewed_at timestamptz,
    bound_at timestamptz,
    ended_at timestamptz,
    end_reason text,
    end_message text,
    check ((state = 'Ended') = (ended_at is not null))
) with (fillfactor = 50);
create index lease_live_open on lease_live (lease_uid) where state <> 'Ended';

-- Live storages as the agents report them.
create table tensor (
    lease_uid uuid not null,
    machine_uid uuid not null,
    storage bigint not null,
    bytes bigint not null,
    dtype integer not null,
    sizes bigint[] not null,
    label text not null,
    first_seen timestamptz not null,
    primary key (lease_uid, machine_uid, storage)
);
create index tensor_machine on tensor (machine_uid);

-- The GPUs of a machine as its agent reports them.
create table device (
    machine_uid uuid not null,
    gpu integer not null,
    name text not null,
    memory_bytes bigint not null,
    memory_used_bytes bigint not null,
    seen_at timestamptz not null,
    primary key (machine_uid, gpu)
) with (fillfactor = 50);
