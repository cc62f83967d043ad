-- What a scan of all machines asks of each, said as the object is written: to read it out of 20,000 bodies again took the database more than a second.
-- at_rest: suspended, says so of its present spec, and says no more whether it is ready, as the releases before 0026 did. provider: its Provider's name.
-- The table is written anew meanwhile (20,000 machines: a second), and whoever reads or writes objects waits for that.
alter table object
    add column at_rest bool not null generated always as (
        grp = 'torchremote.dev' and plural = 'remotemachines' and not deleting
        and coalesce(body #>> '{spec,suspend}' = 'true' and body #>> '{status,phase}' = 'Suspended', false)
        and not body @> '{"status":{"conditions":[{"type":"Ready"}]}}'
        and body #> '{status,observedGeneration}' is not distinct from body #> '{metadata,generation}'
    ) stored,
    add column provider text generated always as (
        case when grp = 'torchremote.dev' and plural = 'remotemachines' then body #>> '{spec,provider}' end
    ) stored;
