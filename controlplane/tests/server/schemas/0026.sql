-- A call with the time at which it was received.
insert into audit (who, verb, path, peer, decision, code, received, dry_run) values
    ('admin', 'create', '/api/v1/namespaces', '127.0.0.1', 'Allow', 201, '2026-11-28 19:30:00+00', true);
