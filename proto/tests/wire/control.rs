//! One value of every message of the control path.

use torch_remote_proto::v1;
use torch_remote_proto::version::CONTROL_PROTOCOL;

fn text(text: &str) -> String {
    text.to_owned()
}

/// Every command.
pub fn commands() -> Vec<(&'static str, v1::control_command::Command)> {
    use v1::control_command::Command;
    let hello = v1::ControlHello {
        protocol: CONTROL_PROTOCOL,
        jwks: text("{}"),
        issuer: text("https://torch-remote"),
        heartbeat_ms: 1000,
    };
    let bind = v1::Bind {
        slot: 1,
        epoch: 2,
        lease_uid: text("uid"),
        lease_name: text("default/train"),
        holder: text("ada"),
        duration_ms: 3,
        reconnect_window_ms: 4,
        orphan_ms: 5,
        resumable: true,
        idle_timeout_ms: 6,
        open_timeout_ms: 7,
        memory_bytes: 1 << 34,
        traceparent: text("00-01-02-01"),
    };
    let revoke = v1::Revoke { slot: 1, epoch: 2, reason: text("Preempted"), message: text("why"), grace_ms: 30_000 };
    vec![
        ("hello", Command::Hello(hello)),
        ("bind", Command::Bind(bind)),
        ("revoke", Command::Revoke(revoke)),
        ("ping", Command::Ping(v1::Ping { nonce: 5 })),
        ("shutdown", Command::Shutdown(v1::Shutdown { reason: text("Deleted") })),
        ("report_seen", Command::ReportSeen(v1::ReportSeen { seq: 8 })),
    ]
}

/// Every event.
pub fn events() -> Vec<(&'static str, v1::agent_event::Event)> {
    use v1::agent_event::Event;
    let hello = v1::AgentHello {
        protocol: CONTROL_PROTOCOL,
        machine_uid: text("machine"),
        boot_id: text("boot"),
        agent_version: text("0.1.0"),
        torch_version: text("2.13.0"),
        device: text("cuda"),
        slots: vec![slot()],
        devices: vec![device()],
    };
    let bound = v1::Bound { slot: 1, epoch: 2, lease_uid: text("uid"), endpoints: vec![endpoint()] };
    let refused = v1::BindRefused { slot: 1, epoch: 2, reason: text("StaleEpoch"), message: text("why") };
    let (reason, message) = (text("Goodbye"), text("over"));
    let released = v1::Released { slot: 1, epoch: 2, lease_uid: text("uid"), reason, message };
    vec![
        ("hello", Event::Hello(hello)),
        ("bound", Event::Bound(bound)),
        ("bind_refused", Event::BindRefused(refused)),
        ("released", Event::Released(released)),
        ("report", Event::Report(report())),
        ("pong", Event::Pong(v1::Pong { nonce: 5 })),
        ("denied", Event::Denied(denied())),
    ]
}

fn denied() -> v1::Denied {
    v1::Denied {
        slot: Some(0),
        lease_name: text("default/train"),
        reason: text("TokenSignature"),
        message: text("why"),
        peer: text("192.0.2.7:4000"),
        times: 3,
        ago_ms: 4,
    }
}

fn report() -> v1::Report {
    let key = |storage| v1::StorageKey { lease_uid: text("uid"), storage };
    let state = v1::StorageState {
        key: Some(key(77)),
        bytes: 24,
        dtype: 6,
        sizes: vec![2, 3],
        label: text("aten::add.Tensor"),
        age_ms: 1500,
    };
    v1::Report {
        seq: 8,
        full: true,
        slots: vec![slot()],
        devices: vec![device()],
        appeared: vec![state],
        vanished: vec![key(78)],
    }
}

fn endpoint() -> v1::Endpoint {
    v1::Endpoint { kind: text("tcp"), address: text("127.0.0.1:7000"), tls: text("spkiSHA256:AAAA") }
}

fn device() -> v1::DeviceState {
    v1::DeviceState { index: 1, name: text("CUDA"), memory_bytes: 1 << 36, memory_used_bytes: 1 << 30 }
}

fn slot() -> v1::SlotState {
    v1::SlotState {
        slot: 1,
        gpu: 2,
        phase: v1::SlotPhase::Active.into(),
        epoch: 3,
        lease_uid: text("uid"),
        endpoint: Some(endpoint()),
        silent_ms: 4,
        idle_ms: 5,
        remaining_ms: 6,
        live_storages: 7,
        live_bytes: 8,
        operators: 9,
        session_started_ms: 10,
    }
}
