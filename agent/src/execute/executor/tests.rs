//! Commands against what `at::` gives, and the law of failure. Each test runs on a thread of its own, with a table of its own.

use std::sync::OnceLock;

use bytes::Bytes;
use torch_remote_proto::codec::encode;
use torch_remote_proto::command::{Arg, TensorMeta};

use super::*;

mod conversion;
mod law;

/// Replies in order.
#[derive(Debug, Default)]
struct Recorder(Vec<(u64, reply::Result)>);

impl Outlet for Recorder {
    fn reply(&mut self, request: RequestId, result: reply::Result) {
        self.0.push((request.0, result));
    }
}

/// A client that chooses ids and numbers.
struct Client {
    executor: Executor<Recorder>,
    next_storage: u64,
    next_signature: u32,
    next_request: u64,
}

fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let device = *DEVICE.get_or_init(|| Device::begin(false, 1).unwrap());
    device.enter_thread();
    device
}

impl Client {
    fn new() -> Client {
        Client::limited(0)
    }

    fn limited(memory_bytes: u64) -> Client {
        let limits = Limits { memory_bytes, inline_read_bytes: 1 << 20 };
        let transfers = Arc::new(Transfers::new(1 << 20));
        transfers.begin(1);
        let mut executor = Executor::new(device(), limits, transfers, Recorder::default());
        executor.begin(1);
        Client { executor, next_storage: 1, next_signature: 1, next_request: 1 }
    }

    fn run(&mut self, command: Command) -> Result<(), Stop> {
        let mut out = Vec::new();
        encode(&mut out, &command);
        self.executor.run(&Bytes::from(out))
    }

    fn storage(&mut self) -> u64 {
        self.next_storage += 1;
        self.next_storage
    }

    fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    fn tensor(&mut self, values: &[f32]) -> u64 {
        let id = self.storage();
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.run(Command::Create { storage: StorageId(id), bytes: data.len() as u64 }).unwrap();
        self.run(Command::Write { view: view(id, &[values.len() as i64]), data: data.into() }).unwrap();
        id
    }

    fn define(&mut self, signature: Signature) -> u32 {
        self.next_signature += 1;
        self.run(Command::Define(SignatureId(self.next_signature), Box::new(signature))).unwrap();
        self.next_signature
    }

    fn call(&mut self, signature: u32, inputs: &[u64], first_output: Option<u64>) -> Result<(), Stop> {
        let args = CallArgs {
            views: inputs.iter().map(|id| (StorageId(*id), 0)).collect(),
            first_output: first_output.map(StorageId),
            ..CallArgs::default()
        };
        self.run(Command::Call { signature: SignatureId(signature), args })
    }

    fn read(&mut self, view: View) -> Result<Vec<u8>, v1::Failure> {
        let request = self.request();
        self.run(Command::Read { request, view }).unwrap();
        match self.last(request) {
            reply::Result::Data(data) => Ok(data.to_vec()),
            reply::Result::Failure(failure) => Err(failure),
            other => panic!("no answer to a read: {other:?}"),
        }
    }

    fn values(&mut self, id: u64, sizes: &[i64]) -> Result<Vec<f32>, v1::Failure> {
        let data = self.read(view(id, sizes))?;
        Ok(data.chunks(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect())
    }

    fn sync(&mut self) -> Option<v1::Failure> {
        let request = self.request();
        self.run(Command::Sync(request)).unwrap();
        match self.last(request) {
            reply::Result::Done(_) => None,
            reply::Result::Failure(failure) => Some(failure),
            other => panic!("no answer to a sync: {other:?}"),
        }
    }

    fn now(&mut self, signature: Signature, args: CallArgs) -> Result<v1::Results, v1::Failure> {
        let request = self.request();
        self.run(Command::CallNow { request, signature: Box::new(signature), args }).unwrap();
        match self.last(request) {
            reply::Result::Results(results) => Ok(results),
            reply::Result::Failure(failure) => Err(failure),
            other => panic!("no answer to a call: {other:?}"),
        }
    }

    fn last(&mut self, request: RequestId) -> reply::Result {
        let (answered, result) = self.executor.outlet().0.pop().unwrap();
        assert_eq!(answered, request.0);
        result
    }
}

fn contiguous(sizes: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; sizes.len()];
    for i in (1..sizes.len()).rev() {
        strides[i - 1] = strides[i] * sizes[i].max(1);
    }
    strides
}

fn meta(sizes: &[i64]) -> TensorMeta {
    TensorMeta { dtype: 6, flags: 0, sizes: sizes.to_vec(), strides: contiguous(sizes) }
}

fn view(id: u64, sizes: &[i64]) -> View {
    View { storage: StorageId(id), offset: 0, meta: meta(sizes) }
}

fn fresh(sizes: &[i64]) -> Output {
    Output::Fresh { bytes: sizes.iter().product::<i64>() as u64 * 4, meta: meta(sizes) }
}

fn signature(name: &str, args: Vec<Arg>, outputs: Vec<Output>) -> Signature {
    let (name, overload) = name.split_once('.').unwrap_or((name, ""));
    Signature {
        name: format!("aten::{name}"),
        overload: overload.to_owned(),
        args,
        outputs,
        resized: Vec::new(),
        random: false,
        default_dtype: 6,
        written: Vec::new(),
    }
}

fn tensor(sizes: &[i64]) -> Arg {
    Arg::Tensor(meta(sizes))
}

fn violation(result: Result<(), Stop>) -> &'static str {
    match result {
        Err(Stop::Violation(violation)) => violation.reason(),
        other => panic!("no violation: {other:?}"),
    }
}
