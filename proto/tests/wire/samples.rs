//! One value of every command and every frame, shared by the golden and the property tests.

use bytes::Bytes;
use torch_remote_proto::command::{
    Arg, CallArgs, Command, Output, RequestId, Resized, Signature, SignatureId, StorageId, TensorMeta, TransferId, View,
};
use torch_remote_proto::v1;
use torch_remote_proto::version::DATA_PROTOCOL;

pub fn meta(sizes: &[i64]) -> TensorMeta {
    let mut stride = 1;
    let mut strides = vec![0; sizes.len()];
    for (place, size) in strides.iter_mut().zip(sizes).rev() {
        *place = stride;
        stride *= size.max(&1);
    }
    TensorMeta { dtype: 6, flags: 0, sizes: sizes.to_vec(), strides }
}

pub fn view(storage: u64) -> View {
    View { storage: StorageId(storage), offset: 3, meta: meta(&[2, 3]) }
}

/// Every kind of argument and output.
pub fn signature() -> Signature {
    Signature {
        name: "aten::everything".to_owned(),
        overload: "out".to_owned(),
        args: vec![
            Arg::None,
            Arg::Tensor(TensorMeta { flags: 7, ..meta(&[4, 1]) }),
            Arg::CpuScalar(7),
            Arg::Int(-5),
            Arg::Bool(true),
            Arg::Float,
            Arg::FloatConst(0.5),
            Arg::Complex,
            Arg::Ints(vec![1, -1, i64::MIN, i64::MAX]),
            Arg::Floats(vec![1.5, f64::INFINITY]),
            Arg::Bools(vec![true, false]),
            Arg::Text("tanh".to_owned()),
            Arg::Device,
            Arg::CpuDevice,
            Arg::Generator,
            Arg::List(vec![Arg::None, Arg::Tensor(meta(&[])), Arg::Int(1), Arg::Bool(false), Arg::Float, Arg::Complex]),
        ],
        outputs: vec![
            Output::Fresh { bytes: 300, meta: meta(&[75]) },
            Output::Alias { slot: 1, offset: -1, meta: meta(&[1]) },
            Output::Argument(1),
            Output::Undefined,
            Output::List(vec![Output::Fresh { bytes: 4, meta: meta(&[1]) }, Output::Undefined]),
        ],
        resized: vec![Resized { slot: 0, meta: meta(&[8]) }],
        random: false,
        default_dtype: 7,
        written: vec![1, 15],
    }
}

pub fn args() -> CallArgs {
    CallArgs {
        views: vec![(StorageId(1), 0), (StorageId(1 << 40), -7)],
        floats: vec![1.0, 2.0, 3.0, 4.0, 5.0, f64::MIN_POSITIVE],
        scalars: vec![*b"0123456789abcdef"],
        random: Some((u64::MAX, 300)),
        first_output: Some(StorageId(500)),
    }
}

/// Every command, in an order that a stream may have.
pub fn commands() -> Vec<(&'static str, Command)> {
    let now = Signature { outputs: Vec::new(), ..signature() };
    let data = Bytes::from_static(&[1, 2, 3, 4, 5, 6]);
    vec![
        ("define", Command::Define(SignatureId(300), Box::new(signature()))),
        ("call", Command::Call { signature: SignatureId(300), args: args() }),
        ("forget", Command::Forget(SignatureId(300))),
        ("free", Command::Free(StorageId(u64::MAX))),
        ("create", Command::Create { storage: StorageId(1), bytes: 4096 }),
        ("resize", Command::Resize { storage: StorageId(1), bytes: 0 }),
        ("write", Command::Write { view: view(1), data }),
        ("write_bulk", Command::WriteBulk { transfer: TransferId(9), view: view(1), bytes: 1 << 33 }),
        ("read", Command::Read { request: RequestId(1), view: view(2) }),
        (
            "read_bulk",
            Command::ReadBulk { request: RequestId(2), transfer: TransferId(3), view: view(2), bytes: 1 << 20 },
        ),
        ("call_now", Command::CallNow { request: RequestId(4), signature: Box::new(now), args: args() }),
        ("sync", Command::Sync(RequestId(5))),
        ("mark", Command::Mark(RequestId(6))),
        ("label", Command::Label { storage: StorageId(1), name: "weights α".to_owned() }),
    ]
}

/// Every frame of the client.
pub fn client_frames() -> Vec<(&'static str, v1::client_frame::Frame)> {
    use v1::client_frame::Frame;
    use v1::hello::Credential;
    let hello = |credential| v1::Hello {
        protocol: DATA_PROTOCOL,
        client: "torch-remote-sdk/0.1.0".to_owned(),
        torch: "2.13.0".to_owned(),
        credential: Some(credential),
        replies_seen: 4,
    };
    let resume = v1::Resume { lease_uid: "uid".to_owned(), secret: Bytes::from_static(&[7; 32]) };
    vec![
        ("hello_token", Frame::Hello(hello(Credential::Token("a.b.c".to_owned())))),
        ("hello_resume", Frame::Hello(hello(Credential::Resume(resume)))),
        ("hello_attach", Frame::Hello(hello(Credential::Attach("a.b.c".to_owned())))),
        ("batch", Frame::Batch(v1::Batch { seq: 9, commands: Bytes::from_static(&[2, 1]) })),
        ("replies_seen", Frame::RepliesSeen(v1::RepliesSeen { seq: 3 })),
        ("keep_alive", Frame::KeepAlive(v1::KeepAlive { nonce: 5 })),
        ("transfer_done", Frame::TransferDone(v1::TransferDone { transfer: 6 })),
        ("goodbye", Frame::Goodbye(v1::Goodbye {})),
    ]
}

/// Every frame of the server, with every kind of reply.
pub fn server_frames() -> Vec<(&'static str, v1::server_frame::Frame)> {
    use v1::server_frame::Frame;
    let welcome = v1::Welcome {
        lease_uid: "uid".to_owned(),
        resume_secret: Bytes::from_static(&[7; 32]),
        next_id: 11,
        device: "cpu".to_owned(),
        torch: "2.13.0".to_owned(),
        batches_received: 3,
        max_unacknowledged_bytes: 1 << 26,
        inline_write_bytes: 1 << 16,
        inline_read_bytes: 1 << 20,
        memory_bytes: 0,
        staging_bytes: 1 << 28,
    };
    let text = |text: &str| text.to_owned();
    let mut frames = vec![
        ("welcome", Frame::Welcome(welcome)),
        (
            "refused",
            Frame::Refused(v1::Refused { reason: text("TokenExpired"), message: text("why"), retry_after_ms: 500 }),
        ),
        ("received", Frame::Received(v1::Received { seq: 8 })),
        ("keep_alive_ack", Frame::KeepAliveAck(v1::KeepAliveAck { nonce: 5 })),
        ("notice", Frame::Notice(v1::Notice { reason: text("Idle"), message: text("soon"), deadline_ms: 60_000 })),
        ("ended", Frame::Ended(v1::Ended { reason: text("Expired"), message: text("over") })),
        ("transfer_ack", Frame::TransferAck(v1::TransferAck { transfer: 6, received: 1 << 20 })),
    ];
    for (name, result) in replies() {
        frames.push((name, Frame::Reply(v1::Reply { seq: 2, request: 1, result: Some(result) })));
    }
    frames
}

fn replies() -> Vec<(&'static str, v1::reply::Result)> {
    use v1::reply::Result;
    let failure = v1::Failure {
        class: v1::ErrorClass::IndexError.into(),
        operator: "aten::index.Tensor".to_owned(),
        message: "index 9 is out of bounds".to_owned(),
        command: 12,
    };
    let tensor = v1::TensorValue {
        undefined: false,
        storage: 77,
        dtype: 4,
        sizes: vec![2, 1],
        strides: vec![1, 1],
        offset: 0,
        storage_bytes: 16,
    };
    use v1::value::Kind;
    let kinds = vec![
        Kind::None(true),
        Kind::Tensor(tensor.clone()),
        Kind::Tensors(v1::TensorValues { tensors: vec![tensor] }),
        Kind::Integer(-3),
        Kind::Float(0.5),
        Kind::Boolean(true),
        Kind::Text("t".to_owned()),
        Kind::Integers(v1::Integers { values: vec![1, -1] }),
        Kind::Argument(2),
        Kind::Complex(v1::Complex { re: 1.0, im: -1.0 }),
    ];
    let resized = vec![v1::ResizedArgument { slot: 1, sizes: vec![3], strides: vec![1], storage_bytes: 12 }];
    let values = kinds.into_iter().map(|kind| v1::Value { kind: Some(kind) }).collect();
    vec![
        ("reply_data", Result::Data(Bytes::from_static(&[1, 2, 3]))),
        ("reply_failure", Result::Failure(failure)),
        ("reply_results", Result::Results(v1::Results { values, resized })),
        ("reply_done", Result::Done(v1::Done { executor_ns: 1_000_000 })),
        ("reply_staged", Result::Staged(v1::Staged { transfer: 3, bytes: 1 << 20 })),
    ]
}
