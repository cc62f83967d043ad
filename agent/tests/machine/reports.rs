//! What a supervisor with a real executor says of its leases, and when it serves them.

use std::collections::BTreeSet;
use std::path::Path;

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use torch_remote_proto::codec::encode;
use torch_remote_proto::command::{Command, StorageId};
use torch_remote_proto::v1::hello::Credential;
use torch_remote_proto::v1::{self, SlotPhase, agent_event, client_frame, control_command, server_frame};
use torch_remote_proto::version::MAX_EVENT_BYTES;

use crate::fixture::{Control, Machine, PATIENCE};

fn executor() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_torch-remote-executor"))
}

fn batch(seq: u64, commands: impl Iterator<Item = Command>) -> client_frame::Frame {
    let mut out = Vec::new();
    commands.for_each(|command| encode(&mut out, &command));
    client_frame::Frame::Batch(v1::Batch { seq, commands: out.into() })
}

/// The next report, which is confirmed.
async fn report(control: &mut Control) -> v1::Report {
    let report = control
        .wait(|event| match event {
            agent_event::Event::Report(report) => Some(report),
            _ => None,
        })
        .await;
    assert!(report.encoded_len() < MAX_EVENT_BYTES);
    control.say(control_command::Command::ReportSeen(v1::ReportSeen { seq: report.seq })).await;
    report
}

#[tokio::test]
async fn a_tenant_with_a_hundred_thousand_storages_does_not_cut_the_control_stream() {
    const COUNT: u64 = 100_000;
    let machine = Machine::start(executor());
    let mut control = machine.control(1).await;
    control.bind(machine.bind(1)).await.unwrap();
    let token = Credential::Token(machine.signer.lease(1, false));
    let (stream, first) = machine.session(token, 0).await;
    assert!(matches!(first, server_frame::Frame::Welcome(_)), "{first:?}");
    stream.say(batch(1, (1..=COUNT).map(|id| Command::Create { storage: StorageId(id), bytes: 0 }))).await;
    let mut known = BTreeSet::new();
    while known.len() < COUNT as usize {
        known.extend(report(&mut control).await.appeared.into_iter().filter_map(|state| Some(state.key?.storage)));
    }
    // A new stream is told to forget the rest, and then all of it again.
    let mut control = machine.control(2).await;
    assert!(report(&mut control).await.full);
    stream.say(batch(2, (1..=COUNT).map(|id| Command::Free(StorageId(id))))).await;
    loop {
        let report = report(&mut control).await;
        assert!(!report.full, "one full report");
        report.vanished.iter().for_each(|key| assert!((1..=COUNT).contains(&key.storage)));
        let slot = &report.slots[0];
        if slot.live_storages == 0 && report.appeared.is_empty() && report.vanished.is_empty() {
            return;
        }
    }
}

#[tokio::test]
async fn an_executor_answers_nobody_before_its_slot_is_bound() {
    let machine = Machine::start(executor());
    let mut control = machine.control(1).await;
    control.slot(|slot| slot.phase() == SlotPhase::Free).await;
    let mut early = UnixStream::connect(machine.path("slot0.sock")).await.unwrap();
    early.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    control.slot(|slot| slot.phase() == SlotPhase::Free).await;
    let mut answer = [0; 9];
    let nothing = early.try_read(&mut answer).expect_err("nobody is there yet");
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    control.bind(machine.bind(1)).await.unwrap();
    tokio::time::timeout(PATIENCE, early.read_exact(&mut answer)).await.expect("an answer in time").unwrap();
    assert_eq!(answer[3], 4, "HTTP/2's settings: {answer:?}");
}

#[tokio::test]
async fn a_stream_that_never_says_hello_is_ended_and_harms_nobody() {
    let machine = Machine::start(executor());
    let mut control = machine.control(1).await;
    control.bind(machine.bind(1)).await.unwrap();
    let mut client = machine.dataplane().await;
    let (_frames, silent) = tokio::sync::mpsc::channel::<v1::ClientFrame>(1);
    let silent = tokio_stream::wrappers::ReceiverStream::new(silent);
    let mut answers = client.session(silent).await.unwrap().into_inner();
    let token = Credential::Token(machine.signer.lease(1, false));
    let (_stream, first) = machine.session(token, 0).await;
    assert!(matches!(first, server_frame::Frame::Welcome(_)), "{first:?}");
    let end = tokio::time::timeout(PATIENCE, answers.message()).await.expect("it is ended");
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
}

#[tokio::test]
async fn the_supervisor_has_no_torch_in_its_memory_and_its_executor_has() {
    let machine = Machine::start(executor());
    let mut control = machine.control(1).await;
    control.slot(|slot| slot.phase() == SlotPhase::Free).await;
    let maps = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", machine.pid());
    let executor = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    assert!(maps(executor).contains("libtorch"), "this is how it would be seen");
    let supervisor = maps(machine.pid());
    assert!(!supervisor.contains("libtorch") && !supervisor.contains("libc10"), "{supervisor}");
}
