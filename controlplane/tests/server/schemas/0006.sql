-- An attempt whose provider was asked three times.
insert into machine_attempt (machine_uid, number, token, run, run_at, failures, generation, launch_hash, state, provider, intended_at, asks, asked_in, asked_at) values
    ('c0a5b9a2-9a0e-4f0e-9f0c-1f6f2f9d7e21', 1, 'tr-c0a5b9a29a0e4f0e9f0c1f6f2f9d7e21-1', 1, '2026-11-28 19:25:38.464565+00', 0, 1, '6859713a756a9872', 'Intent', 'local', '2026-11-28 19:25:38.464565+00', 3, 'Intent', '2026-11-28 19:25:38.624526+00');
