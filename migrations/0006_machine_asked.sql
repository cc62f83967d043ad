-- How often the provider was asked for what an attempt's state wants of it, and when last: a provider that does not answer is asked again after a growing
-- wait, whichever replica asks. `asked_in` is the state it was asked in; under another state the count begins anew.
alter table machine_attempt
    add column asks integer not null default 0 check (asks >= 0),
    add column asked_in text,
    add column asked_at timestamptz;
