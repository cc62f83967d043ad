-- The keys were changed: the current one signs since then.
update signing_key set current_since = '2026-11-28 19:25:18.801221+00' where stage = 'current';
