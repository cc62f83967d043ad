-- When a call was received: `at` is when it was answered. And whether it was to change nothing.
alter table audit add column received timestamptz, add column dry_run boolean not null default false;
