-- When an object was made, to the microsecond: creationTimestamp has whole seconds, and of two leases made in one second the elder goes first.
alter table object add column created_at timestamptz not null default clock_now();
update object set created_at = (body #>> '{metadata,creationTimestamp}')::timestamptz where body #>> '{metadata,creationTimestamp}' is not null;
