-- Since when a key signs: it is made as the next one, long before. The next one is made at the moment when the current one begins to sign.
alter table signing_key add column current_since timestamptz;
update signing_key set current_since = (select max(created) from signing_key) where stage = 'current';
