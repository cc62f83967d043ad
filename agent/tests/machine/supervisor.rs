//! The supervisor with an executor that only says that it is ready: what needs no torch.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use torch_remote_api::agent::Listen;
use torch_remote_proto::v1::{self, SlotPhase, agent_event, control_command::Command};

use crate::fixture::{LEASE, Machine, Signer, until};

/// An executor in shell: reads its link on descriptor 4 and writes its process id beside the script.
fn executor(folder: &tempfile::TempDir, body: &str) -> PathBuf {
    let path = folder.path().join("executor.sh");
    let ready = r#"{"Ready":{"torch":"2.13.0","memory_bytes":1,"name":"CPU"}}"#;
    let script = format!(
        "#!/bin/sh\necho $$ >> {}\nread line <&4\necho '{ready}' >&4\n{body}\n",
        folder.path().join("pids").display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn waits(folder: &tempfile::TempDir) -> PathBuf {
    executor(folder, "while read line <&4; do case $line in *End*) exit 0;; esac; done")
}

fn pids(folder: &tempfile::TempDir) -> Vec<i32> {
    let text = std::fs::read_to_string(folder.path().join("pids")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn lives(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.split(' ').nth(2).is_some_and(|state| state != "Z")
}

#[tokio::test]
async fn a_slot_is_bound_revoked_reaped_and_bound_again_at_a_higher_epoch_only() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::start(&waits(&folder));
    let mut control = machine.control(1).await;
    let hello = control.agent_hello().await;
    assert_eq!((hello.slots.len(), hello.device.as_str()), (1, "cpu"));
    let bound = control.bind(machine.bind(5)).await.unwrap();
    assert_eq!((bound.epoch, bound.lease_uid.as_str(), bound.endpoints[0].kind.as_str()), (5, LEASE, "unix"));
    assert_eq!(control.bind(machine.bind(5)).await.unwrap(), bound, "a repeat is answered alike");
    assert_eq!(control.bind(machine.bind(4)).await.unwrap_err().reason, "StaleEpoch");
    assert_eq!(control.bind(machine.bind(6)).await.unwrap_err().reason, "SlotBusy");
    control
        .say(Command::Revoke(v1::Revoke { slot: 0, epoch: 5, reason: "Deleted".to_owned(), ..Default::default() }))
        .await;
    let released = control.released().await;
    assert_eq!((released.epoch, released.lease_uid.as_str(), released.reason.as_str()), (5, LEASE, "Revoked"));
    let served = pids(&folder)[0];
    assert!(!lives(served), "Released says that the process is reaped");
    assert_eq!(control.bind(machine.bind(5)).await.unwrap_err().reason, "StaleEpoch");
    assert_eq!(control.bind(machine.bind(6)).await.unwrap().epoch, 6, "a bind waits for the process that warms up");
}

#[tokio::test]
async fn a_revoke_with_a_higher_epoch_fences_a_free_slot() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::start(&waits(&folder));
    let mut control = machine.control(1).await;
    control.say(Command::Revoke(v1::Revoke { slot: 0, epoch: 9, ..Default::default() })).await;
    let released = control.released().await;
    assert_eq!((released.epoch, released.lease_uid.as_str()), (9, ""));
    assert_eq!(control.bind(machine.bind(9)).await.unwrap_err().reason, "StaleEpoch");
    assert_eq!(control.bind(machine.bind(10)).await.unwrap().epoch, 10);
}

#[tokio::test]
async fn a_crash_is_released_and_a_new_stream_is_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::start(&executor(&folder, "read line <&4; kill -9 $$"));
    let mut control = machine.control(1).await;
    control.say(Command::Bind(machine.bind(1))).await;
    let released = control.released().await;
    assert_eq!(released.reason, "Crashed");
    assert!(released.message.contains("signal: 9"), "{}", released.message);
    let mut again = machine.control(1).await;
    assert_eq!(again.released().await, released);
    again.slot(|slot| slot.phase() == SlotPhase::Free).await;
}

#[tokio::test]
async fn a_lower_claim_is_refused_and_a_higher_one_ends_the_older_stream() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::start(&waits(&folder));
    let mut old = machine.control(7).await;
    let boot_id = old.agent_hello().await.boot_id;
    let refused = machine.connect(&machine.signer.control(6)).await.err().unwrap();
    assert!(refused.message().starts_with("StaleClaim"), "{refused}");
    let mut new = machine.control(8).await;
    assert_eq!(new.agent_hello().await.boot_id, boot_id);
    until("the older stream ends", async || old.next().await.err()).await;
}

#[tokio::test]
async fn a_call_without_a_good_token_is_refused_and_keys_are_replaced_by_hello() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::start(&waits(&folder));
    let stranger = Signer::new("k1");
    for token in ["", "x.y.z", &stranger.control(1), &machine.signer.lease(1, false)] {
        let refused = machine.connect(token).await.err().unwrap();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{token}");
    }
    let next = Signer::new("k2");
    let mut control = machine.connect(&machine.signer.control(1)).await.unwrap();
    control.say(Command::Hello(v1::ControlHello { jwks: next.jwks().to_string(), ..machine.hello() })).await;
    control.agent_hello().await;
    assert!(machine.connect(&machine.signer.control(1)).await.is_err(), "the first key is gone");
    assert!(machine.connect(&next.control(1)).await.is_ok());
}

#[tokio::test]
async fn control_calls_that_were_refused_are_told_with_their_number_when_somebody_listens() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::start(&waits(&folder));
    for token in ["", "x.y.z", &machine.signer.lease(1, false)] {
        assert!(machine.connect(token).await.is_err(), "{token}");
    }
    let mut control = machine.control(5).await;
    let denied = control.denied().await;
    assert_eq!((denied.slot, denied.reason.as_str(), denied.times), (None, "TokenType", 3), "the latest, for all");
    assert_eq!((denied.peer.as_str(), denied.lease_name.as_str()), ("", ""), "a Unix socket does not say who");
    assert!(machine.connect(&machine.signer.control(4)).await.is_err());
    let denied = control.denied().await;
    assert_eq!((denied.reason.as_str(), denied.times), ("StaleClaim", 1), "and no call that was good");
}

#[tokio::test]
async fn what_an_executor_refused_is_told_with_the_lease_that_its_slot_serves() {
    let folder = tempfile::tempdir().unwrap();
    let refused = r#"{"Refused":{"reason":"TokenLease","message":"why","peer":"192.0.2.7:4000","times":4}}"#;
    let says = format!("read line <&4; echo '{refused}' >&4; echo '{refused}' >&4; while read line <&4; do :; done");
    let machine = Machine::start(&executor(&folder, &says));
    let mut control = machine.control(1).await;
    control.bind(machine.bind(1)).await.unwrap();
    let mut denied = control.denied().await;
    while denied.times < 8 {
        let next = control.denied().await;
        denied = v1::Denied { times: denied.times + next.times, ..next };
    }
    let expected = v1::Denied {
        slot: Some(0),
        lease_name: "team/lease".to_owned(),
        reason: "TokenLease".to_owned(),
        message: "why".to_owned(),
        peer: "192.0.2.7:4000".to_owned(),
        times: 8,
        ago_ms: denied.ago_ms,
    };
    assert_eq!(denied, expected);
}

#[tokio::test]
async fn the_first_word_is_hello_of_the_same_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::start(&waits(&folder));
    let mut control = machine.connect(&machine.signer.control(1)).await.unwrap();
    control.say(Command::Ping(v1::Ping { nonce: 1 })).await;
    assert!(control.next().await.unwrap_err().message().starts_with("HelloExpected"));
    let mut control = machine.connect(&machine.signer.control(1)).await.unwrap();
    control.say(Command::Hello(v1::ControlHello { protocol: 2, ..machine.hello() })).await;
    assert!(control.next().await.unwrap_err().message().starts_with("ProtocolMismatch"));
    let mut control = machine.control(1).await;
    control.say(Command::Ping(v1::Ping { nonce: 3 })).await;
    let nonce =
        control.wait(|event| if let agent_event::Event::Pong(pong) = event { Some(pong.nonce) } else { None }).await;
    assert_eq!(nonce, 3);
}

#[tokio::test]
async fn without_contact_and_lease_it_ends_but_not_while_a_lease_lives() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(&waits(&folder));
    let mut control = machine.control(1).await;
    control.bind(v1::Bind { open_timeout_ms: 3_600_000, ..machine.bind(1) }).await.unwrap();
    machine.advance(Duration::from_secs(1200));
    control.slot(|slot| slot.phase() == SlotPhase::Bound).await;
    control.say(Command::Revoke(v1::Revoke { slot: 0, epoch: 1, ..Default::default() })).await;
    control.released().await;
    control.slot(|slot| slot.phase() == SlotPhase::Free).await;
    let last = *pids(&folder).last().unwrap();
    machine.advance(Duration::from_secs(2400));
    assert!(machine.ended().await.success());
    assert!(!lives(last), "its executors end with it");
}

#[tokio::test]
async fn a_lease_that_nobody_opens_ends() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::start(&waits(&folder));
    let mut control = machine.control(1).await;
    control.bind(machine.bind(1)).await.unwrap();
    machine.advance(Duration::from_secs(61));
    assert_eq!(control.released().await.reason, "NeverOpened");
}

#[tokio::test]
async fn executors_die_with_a_supervisor_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    // One that does not look at its link: only the kernel can end it.
    let machine = Machine::start(&executor(&folder, "while :; do sleep 1; done"));
    machine.control(1).await.slot(|slot| slot.phase() == SlotPhase::Free).await;
    let pid = *pids(&folder).last().unwrap();
    assert!(lives(pid));
    drop(machine);
    until("the executor is gone", async || (!lives(pid)).then_some(())).await;
}

#[tokio::test]
async fn shutdown_ends_the_agent_and_an_executor_that_ignores_its_end_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(&executor(&folder, "while :; do sleep 1; done"));
    let mut control = machine.control(1).await;
    control.bind(machine.bind(1)).await.unwrap();
    control.say(Command::Revoke(v1::Revoke { slot: 0, epoch: 1, ..Default::default() })).await;
    assert_eq!(control.released().await.epoch, 1);
    control.say(Command::Shutdown(v1::Shutdown { reason: "deleted".to_owned() })).await;
    assert!(machine.ended().await.success());
}

#[tokio::test]
async fn an_agent_without_an_executor_or_with_a_socket_in_use_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(&folder.path().join("missing"));
    assert!(!machine.ended().await.success());
    let taken = folder.path().join("taken.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&taken).unwrap();
    let address = taken.to_string_lossy().into_owned();
    let mut machine = Machine::start_with(&waits(&folder), |config| config.control = Listen::Unix(address));
    assert!(!machine.ended().await.success());
    assert!(pids(&folder).is_empty(), "nothing was started");
    assert!(taken.exists(), "another process's socket is left alone");
}
