//! Sessions with a real executor.

use std::path::Path;
use std::time::Duration;

use torch_remote_proto::codec::encode;
use torch_remote_proto::command::{
    Arg, CallArgs, Command, Output, RequestId, Signature, SignatureId, StorageId, TensorMeta, TransferId, View,
};
use torch_remote_proto::v1::hello::Credential;
use torch_remote_proto::v1::{
    self, ErrorClass, SlotPhase, agent_event, client_frame, control_command, reply, server_frame,
};

use crate::fixture::{Control, LEASE, Machine, Signer, Stream, until};

fn executor() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_torch-remote-executor"))
}

const FLOAT: u8 = 6;

fn meta(sizes: &[i64]) -> TensorMeta {
    let mut strides = vec![1; sizes.len()];
    for i in (1..sizes.len()).rev() {
        strides[i - 1] = strides[i] * sizes[i];
    }
    TensorMeta { dtype: FLOAT, flags: 0, sizes: sizes.to_vec(), strides }
}

fn view(storage: u64, sizes: &[i64]) -> View {
    View { storage: StorageId(storage), offset: 0, meta: meta(sizes) }
}

fn bytes(values: &[f32]) -> bytes::Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into()
}

fn floats(data: &[u8]) -> Vec<f32> {
    data.chunks(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect()
}

fn fresh(sizes: &[i64]) -> Output {
    Output::Fresh { bytes: sizes.iter().product::<i64>() as u64 * 4, meta: meta(sizes) }
}

fn signature(name: &str, overload: &str, args: Vec<Arg>, outputs: Vec<Output>) -> Box<Signature> {
    Box::new(Signature {
        name: name.to_owned(),
        overload: overload.to_owned(),
        args,
        outputs,
        resized: Vec::new(),
        random: false,
        default_dtype: 6,
        written: Vec::new(),
    })
}

fn add(sizes: &[i64]) -> Box<Signature> {
    signature(
        "aten::add",
        "Tensor",
        vec![Arg::Tensor(meta(sizes)), Arg::Tensor(meta(sizes)), Arg::Int(1)],
        vec![fresh(sizes)],
    )
}

fn call(number: u32, inputs: &[u64], output: u64) -> Command {
    let views = inputs.iter().map(|id| (StorageId(*id), 0)).collect();
    Command::Call {
        signature: SignatureId(number),
        args: CallArgs { views, first_output: Some(StorageId(output)), ..CallArgs::default() },
    }
}

fn batch(seq: u64, commands: &[Command]) -> client_frame::Frame {
    let mut out = Vec::new();
    commands.iter().for_each(|command| encode(&mut out, command));
    client_frame::Frame::Batch(v1::Batch { seq, commands: out.into() })
}

fn data(reply: v1::Reply) -> Vec<f32> {
    match reply.result.unwrap() {
        reply::Result::Data(data) => floats(&data),
        other => panic!("not data: {other:?}"),
    }
}

/// A machine whose slot 0 is bound at epoch 1, and an open session.
async fn leased(change: impl FnOnce(&mut v1::Bind)) -> (Machine, Control, Stream, v1::Welcome) {
    let machine = Machine::start(executor());
    let mut control = machine.control(1).await;
    let mut bind = machine.bind(1);
    change(&mut bind);
    control.bind(bind).await.unwrap();
    let (stream, welcome) = open(&machine, Credential::Token(machine.signer.lease(1, false))).await;
    (machine, control, stream, welcome)
}

async fn open(machine: &Machine, credential: Credential) -> (Stream, v1::Welcome) {
    match machine.session(credential, 0).await {
        (stream, server_frame::Frame::Welcome(welcome)) => (stream, welcome),
        (_, other) => panic!("not welcome: {other:?}"),
    }
}

async fn refused(machine: &Machine, credential: Credential) -> String {
    match machine.session(credential, 0).await {
        (_, server_frame::Frame::Refused(refused)) => refused.reason,
        (_, other) => panic!("not refused: {other:?}"),
    }
}

fn resume(welcome: &v1::Welcome) -> Credential {
    Credential::Resume(v1::Resume { lease_uid: LEASE.to_owned(), secret: welcome.resume_secret.clone() })
}

#[tokio::test]
async fn operators_run_and_values_come_back() {
    let (_machine, mut control, mut stream, welcome) = leased(|_| {}).await;
    assert_eq!((welcome.device.as_str(), welcome.next_id, welcome.resume_secret.len()), ("cpu", 1, 32));
    let mm =
        signature("aten::mm", "", vec![Arg::Tensor(meta(&[2, 2])), Arg::Tensor(meta(&[2, 2]))], vec![fresh(&[2, 2])]);
    let item = signature(
        "aten::_local_scalar_dense",
        "",
        vec![Arg::Tensor(TensorMeta { sizes: vec![], strides: vec![], ..meta(&[]) })],
        vec![],
    );
    stream
        .say(batch(
            1,
            &[
                Command::Create { storage: StorageId(1), bytes: 16 },
                Command::Write { view: view(1, &[2, 2]), data: bytes(&[1., 2., 3., 4.]) },
                Command::Define(SignatureId(1), add(&[2, 2])),
                Command::Define(SignatureId(2), mm),
                call(1, &[1, 1], 2),
                call(2, &[1, 2], 3),
                Command::Read { request: RequestId(1), view: view(3, &[2, 2]) },
                Command::CallNow {
                    request: RequestId(2),
                    signature: item,
                    args: CallArgs {
                        views: vec![(StorageId(3), 3)],
                        first_output: Some(StorageId(100)),
                        ..CallArgs::default()
                    },
                },
                Command::Sync(RequestId(3)),
            ],
        ))
        .await;
    assert_eq!(data(stream.reply().await), [14., 20., 30., 44.]);
    let results = stream.reply().await;
    assert_eq!(
        results.result,
        Some(reply::Result::Results(v1::Results {
            values: vec![v1::Value { kind: Some(v1::value::Kind::Float(44.)) }],
            resized: vec![]
        }))
    );
    let sync = stream.reply().await;
    assert_eq!((sync.seq, sync.request), (3, 3));
    assert!(matches!(sync.result, Some(reply::Result::Done(_))));
    stream.say(client_frame::Frame::KeepAlive(v1::KeepAlive { nonce: 9 })).await;
    until("the keepalive is answered", async || {
        matches!(stream.next().await, Some(server_frame::Frame::KeepAliveAck(v1::KeepAliveAck { nonce: 9 })))
            .then_some(())
    })
    .await;
    let slot = control.slot(|slot| slot.operators == 3 && slot.live_storages == 3).await;
    assert_eq!((slot.phase(), slot.live_bytes), (SlotPhase::Active, 48));
}

#[tokio::test]
async fn a_cut_connection_is_resumed_and_nothing_runs_twice() {
    let (machine, mut control, mut stream, welcome) = leased(|_| {}).await;
    let increment = signature(
        "aten::add_",
        "Tensor",
        vec![Arg::Tensor(meta(&[1])), Arg::Tensor(meta(&[1])), Arg::Int(1)],
        vec![Output::Argument(0)],
    );
    let first = [
        Command::Create { storage: StorageId(1), bytes: 4 },
        Command::Create { storage: StorageId(2), bytes: 4 },
        Command::Write { view: view(1, &[1]), data: bytes(&[0.]) },
        Command::Write { view: view(2, &[1]), data: bytes(&[1.]) },
        Command::Define(SignatureId(1), increment),
    ];
    let step = [
        Command::Call {
            signature: SignatureId(1),
            args: CallArgs { views: vec![(StorageId(1), 0), (StorageId(2), 0)], ..CallArgs::default() },
        },
        Command::Read { request: RequestId(1), view: view(1, &[1]) },
    ];
    stream.say(batch(1, &first)).await;
    stream.say(batch(2, &step)).await;
    assert_eq!(data(stream.reply().await), [1.]);
    drop(stream);
    control.slot(|slot| slot.phase() == SlotPhase::Disconnected).await;
    // The reply was not acknowledged, nor the batch: both come again, and neither is run again.
    let (mut stream, again) = open(&machine, resume(&welcome)).await;
    assert!(again.batches_received <= 2);
    assert_eq!(data(stream.reply().await), [1.], "the reply is repeated");
    stream.say(batch(2, &step)).await;
    stream.say(batch(3, &step)).await;
    assert_eq!(data(stream.reply().await), [2.]);
    assert_eq!(refused(&machine, Credential::Token(machine.signer.lease(1, false))).await, "SessionOpened");
    let wrong = v1::Resume { lease_uid: LEASE.to_owned(), secret: vec![0; 32].into() };
    assert_eq!(refused(&machine, Credential::Resume(wrong)).await, "SessionLost");
}

#[tokio::test]
async fn a_new_process_takes_over_with_empty_hands_and_the_old_secret_is_worth_nothing() {
    let (machine, mut control, mut stream, welcome) = leased(|bind| bind.resumable = true).await;
    stream.say(batch(1, &[Command::Create { storage: StorageId(70), bytes: 4 }, Command::Sync(RequestId(1))])).await;
    stream.reply().await;
    assert_eq!(refused(&machine, Credential::Attach(machine.signer.lease(1, true))).await, "SessionInUse");
    drop(stream);
    control.slot(|slot| slot.phase() == SlotPhase::Disconnected).await;
    let (mut stream, taken) = open(&machine, Credential::Attach(machine.signer.lease(1, true))).await;
    assert!(taken.next_id > 70, "ids are never used again");
    assert_eq!(refused(&machine, resume(&welcome)).await, "SessionLost");
    stream.say(batch(1, &[Command::Free(StorageId(70))])).await;
    assert_eq!(stream.ended().await.reason, "UnknownStorage", "the old process's storages are gone");
    assert_eq!(control.released().await.reason, "UnknownStorage");
}

#[tokio::test]
async fn bulk_bytes_go_both_ways_and_the_stream_waits_for_them() {
    let (machine, _control, mut stream, welcome) = leased(|_| {}).await;
    let count = 700_000;
    let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
    let all = bytes(&values);
    let total = all.len() as u64;
    let size = [count as i64];
    stream
        .say(batch(
            1,
            &[
                Command::Create { storage: StorageId(1), bytes: total },
                Command::WriteBulk { transfer: TransferId(5), view: view(1, &size), bytes: total },
                Command::Define(SignatureId(1), add(&size)),
                call(1, &[1, 1], 2),
                Command::ReadBulk {
                    request: RequestId(1),
                    transfer: TransferId(6),
                    view: view(2, &size),
                    bytes: total,
                },
                Command::Write { view: View { offset: 3, ..view(2, &[1]) }, data: bytes(&[-1.]) },
                Command::Read { request: RequestId(2), view: View { offset: 3, ..view(2, &[1]) } },
            ],
        ))
        .await;
    let with_secret = |secret: &[u8]| {
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("tr-lease", LEASE.parse().unwrap());
        metadata
            .insert("tr-secret", secret.iter().map(|byte| format!("{byte:02x}")).collect::<String>().parse().unwrap());
        metadata
    };
    let chunks = |from: usize, to: usize| {
        let all = all.clone();
        let chunk = move |start: usize| v1::Chunk {
            transfer: 5,
            offset: start as u64,
            data: all.slice(start..(start + (1 << 20)).min(to)),
            total,
        };
        tonic::Request::from_parts(
            with_secret(&welcome.resume_secret),
            Default::default(),
            tokio_stream::iter((from..to).step_by(1 << 20).map(chunk)),
        )
    };
    let mut bulk = machine.dataplane().await;
    // Cut after the first MiB, and sent again from there.
    let acknowledged = bulk.upload(chunks(0, 1 << 20)).await.unwrap().into_inner();
    assert_eq!(acknowledged.received, 1 << 20);
    let acknowledged = bulk.upload(chunks(1 << 20, all.len())).await.unwrap().into_inner();
    assert_eq!(acknowledged.received, total);
    assert_eq!(stream.reply().await.result, Some(reply::Result::Staged(v1::Staged { transfer: 6, bytes: total })));
    let ask = |secret: &[u8], offset| {
        tonic::Request::from_parts(with_secret(secret), Default::default(), v1::DownloadRequest { transfer: 6, offset })
    };
    assert_eq!(bulk.download(ask(&[0; 32], 0)).await.unwrap_err().code(), tonic::Code::Unauthenticated);
    for offset in [0, 1 << 20] {
        let mut incoming = bulk.download(ask(&welcome.resume_secret, offset)).await.unwrap().into_inner();
        let mut received = Vec::new();
        while let Some(chunk) = incoming.message().await.unwrap() {
            assert_eq!(chunk.offset, offset + received.len() as u64);
            received.extend_from_slice(&chunk.data);
        }
        let expected: Vec<f32> = values.iter().map(|value| value * 2.).collect();
        assert!(floats(&received) == expected[offset as usize / 4..], "what follows in the stream has not touched it");
    }
    stream.say(client_frame::Frame::TransferDone(v1::TransferDone { transfer: 6 })).await;
    assert_eq!(data(stream.reply().await), [-1.]);
}

#[tokio::test]
async fn an_executor_that_is_killed_is_released_as_crashed_and_replaced() {
    let (machine, mut control, mut stream, _) = leased(|_| {}).await;
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", machine.pid())).unwrap();
    let child = rustix::process::Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap()).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    assert_eq!(control.released().await.reason, "Crashed");
    assert_eq!(stream.next().await, None, "the stream breaks at once");
    control.bind(machine.bind(2)).await.unwrap();
    let (_, welcome) = open(&machine, Credential::Token(machine.signer.lease(2, false))).await;
    assert_eq!(welcome.next_id, 1);
    assert_eq!(refused(&machine, Credential::Token(machine.signer.lease(1, false))).await, "TokenEpoch");
}

#[tokio::test]
async fn a_lease_ends_by_goodbye_and_by_revoke_and_the_client_is_told() {
    let (machine, mut control, mut stream, _) = leased(|_| {}).await;
    stream.say(client_frame::Frame::Goodbye(v1::Goodbye {})).await;
    assert_eq!(stream.ended().await.reason, "Goodbye");
    assert_eq!(control.released().await.reason, "Goodbye");
    control.bind(machine.bind(2)).await.unwrap();
    let (mut stream, _) = open(&machine, Credential::Token(machine.signer.lease(2, false))).await;
    let revoke =
        v1::Revoke { slot: 0, epoch: 2, reason: "Preempted".to_owned(), message: "make room".to_owned(), grace_ms: 0 };
    control.say(control_command::Command::Revoke(revoke)).await;
    let ended = stream.ended().await;
    assert_eq!((ended.reason.as_str(), ended.message.as_str()), ("Revoked", "Preempted: make room"));
    assert_eq!(control.released().await.epoch, 2);
}

#[tokio::test]
async fn an_orphan_ends_when_its_time_is_over_and_a_named_one_stays() {
    for (resumable, reason, after) in [(false, "Orphaned", 61), (true, "Silent", 30 * 60 + 1)] {
        let (machine, mut control, stream, welcome) = leased(|bind| bind.resumable = resumable).await;
        drop(stream);
        control.slot(|slot| slot.phase() == SlotPhase::Disconnected).await;
        machine.advance(Duration::from_secs(59));
        control.slot(|slot| slot.silent_ms >= 59_000).await;
        let (stream, _) = open(&machine, resume(&welcome)).await;
        control.slot(|slot| slot.phase() == SlotPhase::Active).await;
        drop(stream);
        control.slot(|slot| slot.phase() == SlotPhase::Disconnected).await;
        machine.advance(Duration::from_secs(59 + after));
        assert_eq!(control.released().await.reason, reason);
    }
}

#[tokio::test]
async fn idle_and_duration_end_a_lease_after_a_notice() {
    for (idle, notice, reason) in [(true, "Idle", "Idle"), (false, "Expiring", "Expired")] {
        let (machine, mut control, mut stream, _) = leased(|bind| {
            bind.resumable = true;
            bind.reconnect_window_ms = 10 * 3600 * 1000;
            if idle {
                bind.idle_timeout_ms = 3600 * 1000;
            } else {
                bind.duration_ms = 3600 * 1000;
            }
        })
        .await;
        // A pulse after the last thing that happened: from then on only the supervisor's clock moves.
        control.slot(|slot| slot.phase() == SlotPhase::Active && slot.idle_ms >= 1000).await;
        machine.advance(Duration::from_secs(3590));
        let shown = until("a notice comes", async || match stream.next().await {
            Some(server_frame::Frame::Notice(notice)) => Some(notice),
            _ => None,
        })
        .await;
        assert_eq!(shown.reason, notice);
        assert!(shown.deadline_ms <= 11_000 && shown.message.contains("team/lease"), "{shown:?}");
        machine.advance(Duration::from_secs(3601));
        assert_eq!(stream.ended().await.reason, reason);
        assert_eq!(control.released().await.reason, reason);
    }
}

#[tokio::test]
async fn storages_older_than_a_second_are_reported_and_their_end_too() {
    let (_machine, mut control, stream, _) = leased(|_| {}).await;
    let named = [
        Command::Create { storage: StorageId(1), bytes: 24 },
        Command::Write { view: view(1, &[2, 3]), data: bytes(&[0.; 6]) },
        Command::Label { storage: StorageId(1), name: "weights".to_owned() },
    ];
    stream.say(batch(1, &named)).await;
    let report = |event| if let agent_event::Event::Report(report) = event { Some(report) } else { None };
    let appeared = control.wait(|event| report(event)?.appeared.into_iter().next()).await;
    assert_eq!(
        (appeared.label.as_str(), appeared.bytes, appeared.dtype, appeared.sizes),
        ("weights", 24, 6, vec![2, 3])
    );
    assert!(appeared.age_ms >= 1000);
    stream.say(batch(2, &[Command::Free(StorageId(1))])).await;
    let vanished = control.wait(|event| report(event)?.vanished.into_iter().next()).await;
    assert_eq!((vanished.lease_uid.as_str(), vanished.storage), (LEASE, 1));
}

#[tokio::test]
async fn memory_is_limited_before_anything_is_allocated() {
    let (_machine, _control, mut stream, welcome) = leased(|bind| bind.memory_bytes = 64 << 20).await;
    assert_eq!(welcome.memory_bytes, 64 << 20);
    let commands = [
        Command::Create { storage: StorageId(1), bytes: 1 << 40 },
        Command::Sync(RequestId(1)),
        Command::Create { storage: StorageId(2), bytes: 4 },
        Command::Write { view: view(2, &[1]), data: bytes(&[5.]) },
        Command::Read { request: RequestId(2), view: view(2, &[1]) },
    ];
    stream.say(batch(1, &commands)).await;
    let Some(reply::Result::Failure(failure)) = stream.reply().await.result else { panic!("the lease has 64 MiB") };
    assert_eq!(failure.class(), ErrorClass::OutOfMemoryError);
    assert_eq!(data(stream.reply().await), [5.], "other tensors are unharmed");
}

#[tokio::test]
async fn what_an_operator_takes_while_it_runs_counts_against_the_lease() {
    const MANY: i64 = 10 << 20;
    let (_machine, _control, mut stream, _) = leased(|bind| bind.memory_bytes = 64 << 20).await;
    let median = |sizes| signature("aten::median", "", vec![Arg::Tensor(meta(sizes))], vec![fresh(&[])]);
    let commands = [
        Command::Create { storage: StorageId(1), bytes: MANY as u64 * 4 },
        Command::Define(SignatureId(1), median(&[MANY])),
        // It works on a copy of its argument: 80 MiB in all.
        call(1, &[1], 2),
        Command::Read { request: RequestId(1), view: view(2, &[]) },
        Command::Create { storage: StorageId(3), bytes: 12 },
        Command::Write { view: view(3, &[3]), data: bytes(&[9., 5., 1.]) },
        Command::Define(SignatureId(2), median(&[3])),
        call(2, &[3], 4),
        Command::Read { request: RequestId(2), view: view(4, &[]) },
    ];
    stream.say(batch(1, &commands)).await;
    let Some(reply::Result::Failure(failure)) = stream.reply().await.result else { panic!("the lease has 64 MiB") };
    assert_eq!((failure.class(), failure.operator.as_str()), (ErrorClass::OutOfMemoryError, "aten::median"));
    assert_eq!(data(stream.reply().await), [5.], "the copy was given back");
}

#[tokio::test]
async fn tokens_that_are_not_for_this_lease_are_refused_with_stable_reasons() {
    let machine = Machine::start(executor());
    let mut control = machine.control(1).await;
    control.bind(machine.bind(3)).await.unwrap();
    for (token, reason) in [
        (machine.signer.lease(2, false), "TokenEpoch"),
        (machine.signer.control(1), "TokenType"),
        (machine.signer.expired(3), "TokenExpired"),
        (Signer::new("k1").lease(3, false), "TokenSignature"),
        (Signer::new("k9").lease(3, false), "TokenKeyUnknown"),
        ("nonsense".to_owned(), "TokenMalformed"),
    ] {
        assert_eq!(refused(&machine, Credential::Token(token)).await, reason);
    }
    let (stream, _) = open(&machine, Credential::Token(machine.signer.lease(3, false))).await;
    assert_eq!(refused(&machine, Credential::Token(machine.signer.lease(3, false))).await, "SessionOpened");
    drop(stream);
    // The good one among them is none of those that the control plane hears of.
    let (mut times, mut last) = (0, String::new());
    while last != "SessionOpened" {
        let denied = control.denied().await;
        assert_eq!((denied.slot, denied.lease_name.as_str(), denied.peer.as_str()), (Some(0), "team/lease", ""));
        times += denied.times;
        last = denied.reason;
    }
    assert_eq!(times, 7);
}
