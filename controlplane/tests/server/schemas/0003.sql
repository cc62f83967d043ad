-- A machine with a lease on its first slot, and a tensor.
insert into claim (machine_uid, replica, number, acquired_at, expires_at) values
    ('24029143-dc19-4e8c-88fa-7708311ce63a', 'up', 1, '2026-11-28 19:25:38.446791+00', '2026-11-28 19:26:18.915281+00');
insert into machine_attempt (machine_uid, number, token, run, run_at, failures, generation, launch_hash, state, provider, provider_id, intended_at, created_at, ready_at) values
    ('24029143-dc19-4e8c-88fa-7708311ce63a', 1, 'tr-24029143dc194e8c88fa7708311ce63a-1', 1, '2026-11-28 19:25:38.464565+00', 0, 1, '6859713a756a9872', 'Created', 'local', 'pid-6845-292905', '2026-11-28 19:25:38.464565+00', '2026-11-28 19:25:38.892543+00', '2026-11-28 19:25:41.932956+00');
insert into agent_seen (machine_uid, attempt, boot_id, agent_version, torch_version, device, hello_at, seen_at) values
    ('24029143-dc19-4e8c-88fa-7708311ce63a', 1, '4dfa797f961fbe72a23a7bb5c0ebd349', '0.1.0', '', 'cpu', '2026-11-28 19:25:38.983878+00', '2026-11-28 19:26:03.861108+00');
insert into slot (machine_uid, slot, gpu, epoch, offered, warm, phase, endpoint, silent_ms, idle_ms, live_storages, live_bytes, operators, seen_at) values
    ('24029143-dc19-4e8c-88fa-7708311ce63a', 0, 0, 1, true, true, 'BOUND', '{"tls": "none", "kind": "unix", "address": "/run/torch-remote/e15d0e88f2210921/slot-0"}', 0, 0, 0, 0, 0, '2026-11-28 19:26:03.861108+00');
insert into slot (machine_uid, slot, gpu, epoch, offered, warm, phase, endpoint, silent_ms, idle_ms, live_storages, live_bytes, operators, seen_at) values
    ('24029143-dc19-4e8c-88fa-7708311ce63a', 1, 1, 0, true, true, 'FREE', '{"tls": "none", "kind": "unix", "address": "/run/torch-remote/e15d0e88f2210921/slot-1"}', 0, 0, 0, 0, 0, '2026-11-28 19:26:03.861108+00');
insert into binding (machine_uid, slot, epoch, lease_uid, round, boot_id, terms, bound_at, acked_at, endpoints) values
    ('24029143-dc19-4e8c-88fa-7708311ce63a', 0, 1, '8d309987-65ff-4074-b857-f3594676e87d', 1, '4dfa797f961fbe72a23a7bb5c0ebd349', '{"gpu": "CPU", "lease": "default/job", "holder": "admin", "machine": "default/trainer", "orphanMs": 60000, "resumable": false, "durationMs": 28800000, "memoryBytes": 0, "traceparent": "00-87d68ba4d11f387555b16d47002d42a2-18f7867626cac95a-01", "idleTimeoutMs": 3600000, "openTimeoutMs": 600000, "reconnectWindowMs": 1800000}', '2026-11-28 19:25:42.48041+00', '2026-11-28 19:25:42.492426+00', '[{"tls": "none", "kind": "unix", "address": "/run/torch-remote/e15d0e88f2210921/slot-0"}]');
insert into lease_live (lease_uid, state, created_at, waiting_since, round, put_back, bound_at) values
    ('8d309987-65ff-4074-b857-f3594676e87d', 'Bound', '2026-11-28 19:25:42.416966+00', '2026-11-28 19:25:42.453146+00', 1, 0, '2026-11-28 19:25:42.48041+00');
insert into device (machine_uid, gpu, name, memory_bytes, memory_used_bytes, seen_at) values
    ('24029143-dc19-4e8c-88fa-7708311ce63a', 0, 'CPU', 25276059648, 0, '2026-11-28 19:26:03.861108+00');
insert into device (machine_uid, gpu, name, memory_bytes, memory_used_bytes, seen_at) values
    ('24029143-dc19-4e8c-88fa-7708311ce63a', 1, 'CPU', 25276059648, 0, '2026-11-28 19:26:03.861108+00');
insert into tensor (lease_uid, machine_uid, storage, bytes, dtype, sizes, label, first_seen) values
    ('8d309987-65ff-4074-b857-f3594676e87d', '24029143-dc19-4e8c-88fa-7708311ce63a', 7, 4096, 6, '{32,32}', 'weights', '2026-11-28 19:26:00+00');
