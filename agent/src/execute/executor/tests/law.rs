//! What a failure harms, and what it does not.

use proptest::prelude::*;
use torch_remote_proto::command::Resized;

use super::*;

/// mm of shapes that do not fit: fails whatever the values.
fn failing() -> Signature {
    signature("mm", vec![tensor(&[1, 2]), tensor(&[1, 2])], vec![fresh(&[1, 2])])
}

#[test]
fn a_failed_operator_poisons_its_result_and_what_is_made_of_it_and_nothing_else() {
    let mut client = Client::new();
    let (a, bad, worse, good) = (client.tensor(&[1., 2.]), 900, 901, 902);
    let mm = client.define(failing());
    let add = client.define(signature("add.Tensor", vec![tensor(&[2]), tensor(&[2]), Arg::Int(1)], vec![fresh(&[2])]));
    client.call(mm, &[a, a], Some(bad)).unwrap();
    client.call(add, &[a, bad], Some(worse)).unwrap();
    client.call(add, &[a, a], Some(good)).unwrap();
    assert_eq!(client.values(good, &[2]), Ok(vec![2., 4.]));
    let failure = client.values(worse, &[2]).unwrap_err();
    assert_eq!((failure.class(), failure.operator.as_str()), (ErrorClass::RuntimeError, "aten::mm"));
    assert_eq!(failure.message, "mat1 and mat2 shapes cannot be multiplied (1x2 and 1x2)");
    assert_eq!(failure.command, 5, "Create, Write, Define, Define, Call");
    assert_eq!(client.values(a, &[2]), Ok(vec![1., 2.]));
    assert_eq!(client.sync(), None, "a reply has carried it");
    client.run(Command::Free(StorageId(bad))).unwrap();
    assert_eq!(violation(client.run(Command::Free(StorageId(bad)))), "UnknownStorage");
}

#[test]
fn sync_answers_each_failure_that_no_reply_has_carried_once_in_order() {
    let mut client = Client::new();
    let a = client.tensor(&[1., 2.]);
    let mm = client.define(failing());
    let none = client.define(signature("does_not_exist", vec![tensor(&[2])], vec![fresh(&[2])]));
    client.call(mm, &[a, a], Some(900)).unwrap();
    client.call(none, &[a], Some(901)).unwrap();
    client.call(mm, &[a, a], Some(902)).unwrap();
    assert!(client.values(902, &[2]).is_err());
    assert_eq!(client.sync().unwrap().operator, "aten::mm");
    let second = client.sync().unwrap();
    assert_eq!((second.operator.as_str(), second.class()), ("aten::does_not_exist", ErrorClass::NotImplementedError));
    assert_eq!(client.sync(), None);
}

#[test]
fn what_is_not_on_the_list_is_not_run() {
    let mut client = Client::new();
    let a = client.tensor(&[1., 2.]);
    for name in ["from_file", "save", "set_.source_Tensor", "resize_"] {
        let number = client.define(signature(name, vec![tensor(&[2])], vec![fresh(&[2])]));
        let output = client.storage();
        client.call(number, &[a], Some(output)).unwrap();
        let failure = client.values(output, &[2]).unwrap_err();
        assert_eq!(failure.class(), ErrorClass::NotImplementedError);
        assert!(failure.message.contains(&format!("aten::{name}")), "{}", failure.message);
    }
}

#[test]
fn a_result_that_differs_from_what_was_assumed_poisons() {
    let mut client = Client::new();
    let a = client.tensor(&[1., 2.]);
    let half = Output::Fresh { bytes: 4, meta: TensorMeta { dtype: 5, ..meta(&[2]) } };
    let wide = Output::Fresh { bytes: 16, meta: TensorMeta { dtype: 7, ..meta(&[2]) } };
    let alias = Output::Alias { slot: 0, offset: 0, meta: meta(&[2]) };
    for (output, says) in [
        (fresh(&[1, 2]), "the client assumed"),
        (fresh(&[3]), "the client assumed"),
        (half, "the client assumed"),
        (wide, "the client assumed"),
        (Output::Undefined, "the client assumed none"),
        (Output::List(vec![fresh(&[2])]), "is not the list"),
        (Output::Argument(0), "is not argument 0"),
        (alias, "is not the view"),
    ] {
        // Where the result was assumed to lie in the argument, the client's tensor shows the argument's storage: it must not give the old values.
        let shares = matches!(output, Output::Argument(_) | Output::Alias { .. });
        let makes = matches!(output, Output::Fresh { .. } | Output::List(_));
        let number = client.define(signature("neg", vec![tensor(&[2])], vec![output]));
        let first = makes.then(|| client.storage());
        let a = client.tensor(&[1., 2.]);
        client.call(number, &[a], first).unwrap();
        let failure = client.sync().unwrap();
        assert!(failure.message.contains(says), "{}", failure.message);
        assert_eq!(client.values(a, &[2]).ok(), (!shares).then(|| vec![1., 2.]));
    }
    let two = client.define(signature("neg", vec![tensor(&[2])], vec![fresh(&[2]), fresh(&[2])]));
    client.call(two, &[a], Some(9000)).unwrap();
    assert!(client.values(9000, &[2]).is_err() && client.values(9001, &[2]).is_err());
}

#[test]
fn a_view_outside_its_storage_is_not_looked_at() {
    let mut client = Client::new();
    let a = client.tensor(&[1., 2.]);
    let neg = client.define(signature("neg", vec![tensor(&[2])], vec![fresh(&[2])]));
    for offset in [1, -1, i64::MAX, i64::MIN] {
        let output = client.storage();
        let args = CallArgs {
            views: vec![(StorageId(a), offset)],
            first_output: Some(StorageId(output)),
            ..CallArgs::default()
        };
        client.run(Command::Call { signature: SignatureId(neg), args }).unwrap();
        assert_eq!(client.values(output, &[2]).unwrap_err().class(), ErrorClass::IndexError);
        let outside = View { offset, ..view(a, &[2]) };
        assert!(client.read(outside.clone()).is_err());
    }
    let huge = TensorMeta { sizes: vec![1 << 40, 1 << 40], strides: vec![1 << 40, 1], ..meta(&[]) };
    assert!(client.read(View { meta: huge, ..view(a, &[]) }).is_err());
    assert_eq!(client.values(a, &[2]), Ok(vec![1., 2.]));
    client.run(Command::Write { view: View { offset: 1, ..view(a, &[2]) }, data: vec![0; 8].into() }).unwrap();
    assert!(client.values(a, &[2]).is_err(), "a failed write poisons what it would have written");
}

#[test]
fn a_clients_mistake_is_a_violation() {
    let mut client = Client::new();
    let a = client.tensor(&[1., 2.]);
    let neg = client.define(signature("neg", vec![tensor(&[2])], vec![fresh(&[2])]));
    assert_eq!(violation(client.run(Command::Create { storage: StorageId(a), bytes: 1 })), "StorageTwice");
    assert_eq!(violation(client.call(neg, &[a], Some(a))), "StorageTwice");
    assert_eq!(violation(client.call(neg, &[77], Some(78))), "UnknownStorage");
    assert_eq!(violation(client.run(Command::Read { request: RequestId(1), view: view(77, &[1]) })), "UnknownStorage");
    assert_eq!(violation(client.executor.run(&Bytes::from_static(b"\xff"))), "Malformed");
    let mut client = Client::new();
    let a = client.tensor(&[1., 2.]);
    let neg = client.define(signature("neg", vec![tensor(&[2])], vec![fresh(&[2])]));
    assert_eq!(violation(client.run(Command::Create { storage: StorageId(u64::MAX), bytes: 1 })), "StorageRange");
    assert_eq!(violation(client.call(neg, &[a], Some(u64::MAX))), "StorageRange");
    let nonzero = signature("nonzero", vec![tensor(&[2])], vec![]);
    let args =
        CallArgs { views: vec![(StorageId(a), 0)], first_output: Some(StorageId(u64::MAX)), ..CallArgs::default() };
    let now = Command::CallNow { request: RequestId(9), signature: Box::new(nonzero), args };
    assert_eq!(violation(client.run(now)), "StorageRange");
    let transfer = (TransferId(1), view(a, &[2]));
    let transfers = Arc::clone(&client.executor.transfers);
    let wrong = v1::Chunk { transfer: 1, offset: 0, data: Bytes::from_static(b"abc"), total: 3 };
    let sent = std::thread::spawn(move || futures::executor::block_on(transfers.chunk(1, &wrong)));
    assert_eq!(sent.join().unwrap(), Ok(3));
    let announced = Command::WriteBulk { transfer: transfer.0, view: transfer.1, bytes: 8 };
    assert_eq!(violation(client.run(announced)), "BadTransfer");
}

#[test]
fn memory_that_is_not_the_leases_is_refused_before_it_is_allocated() {
    let mut client = Client::limited(1 << 10);
    let a = client.tensor(&[1., 2.]);
    client.run(Command::Create { storage: StorageId(500), bytes: 1 << 60 }).unwrap();
    assert_eq!(client.sync().unwrap().class(), ErrorClass::OutOfMemoryError);
    client.run(Command::Resize { storage: StorageId(a), bytes: 1 << 60 }).unwrap();
    assert_eq!(client.values(a, &[2]).unwrap_err().class(), ErrorClass::OutOfMemoryError);
    let full = signature(
        "full",
        vec![Arg::Ints(vec![1 << 20]), Arg::Int(1), Arg::Int(6), Arg::None, Arg::Device, Arg::None],
        vec![fresh(&[1 << 20])],
    );
    let full = client.define(full);
    client.call(full, &[], Some(600)).unwrap();
    assert_eq!(client.values(600, &[1]).unwrap_err().class(), ErrorClass::OutOfMemoryError);
    // What was refused takes no memory from others.
    let b = client.tensor(&[3.]);
    assert_eq!(client.values(b, &[1]), Ok(vec![3.]));
    assert_eq!(client.sync().map(|failure| failure.operator), None);
    // An expanded view of four bytes, asked for whole.
    let expanded = TensorMeta { sizes: vec![1 << 40], strides: vec![0], ..meta(&[]) };
    let request = client.request();
    let bulk = Command::ReadBulk {
        request,
        transfer: TransferId(1),
        view: View { meta: expanded, ..view(b, &[]) },
        bytes: 4 << 40,
    };
    client.run(bulk).unwrap();
    assert!(
        matches!(client.last(request), reply::Result::Failure(failure) if failure.class() == ErrorClass::OutOfMemoryError)
    );
    // Nor is its upload waited for and staged.
    let expanded = TensorMeta { sizes: vec![1 << 40], strides: vec![0], ..meta(&[]) };
    let c = client.tensor(&[3.]);
    client
        .run(Command::WriteBulk {
            transfer: TransferId(7),
            view: View { meta: expanded, ..view(c, &[]) },
            bytes: 4 << 40,
        })
        .unwrap();
    assert_eq!(client.values(c, &[1]).unwrap_err().class(), ErrorClass::OutOfMemoryError);
    // An upload whose bytes have no place to go to is not waited for.
    client.run(Command::WriteBulk { transfer: TransferId(2), view: view(b, &[4]), bytes: 16 }).unwrap();
    assert_eq!(client.values(b, &[1]).unwrap_err().class(), ErrorClass::IndexError);
}

#[test]
fn an_out_argument_is_resized_only_as_assumed() {
    let mut client = Client::new();
    let a = client.tensor(&[1., 2.]);
    let args = |out: &[i64]| vec![tensor(&[2]), tensor(&[2]), Arg::Int(1), tensor(out)];
    let mut add = signature("add.out", args(&[0]), vec![Output::Argument(3)]);
    let silent = client.define(add.clone());
    add.resized = vec![Resized { slot: 2, meta: meta(&[2]) }];
    let resized = client.define(add);
    let empty = client.storage();
    client.run(Command::Create { storage: StorageId(empty), bytes: 0 }).unwrap();
    client.call(resized, &[a, a, empty], None).unwrap();
    assert_eq!(client.values(empty, &[2]), Ok(vec![2., 4.]));
    let other = client.storage();
    client.run(Command::Create { storage: StorageId(other), bytes: 0 }).unwrap();
    client.call(silent, &[a, a, other], None).unwrap();
    assert!(client.values(other, &[0]).unwrap_err().message.contains("gave an argument the shape [2]"));
}

#[test]
fn an_out_argument_that_grew_before_its_operator_failed_counts_with_all_its_bytes() {
    let mut client = Client::new();
    let a = client.tensor(&[1., 2.]);
    let args = vec![tensor(&[2]), tensor(&[2]), Arg::Int(1), tensor(&[0])];
    let silent = client.define(signature("add.out", args, vec![Output::Argument(3)]));
    let out = client.storage();
    client.run(Command::Create { storage: StorageId(out), bytes: 0 }).unwrap();
    client.call(silent, &[a, a, out], None).unwrap();
    assert!(client.values(out, &[0]).is_err());
    assert_eq!(client.executor.table().bytes(), 16);
    client.run(Command::Free(StorageId(out))).unwrap();
    assert_eq!(client.executor.table().bytes(), 8);
}

/// Batch normalisation of `[3, 2]` by its own statistics, or by those given.
fn batch_norm(training: bool) -> Signature {
    let rest = [Arg::None, Arg::None, tensor(&[2]), tensor(&[2]), Arg::Bool(training)];
    let args = [tensor(&[3, 2])].into_iter().chain(rest).chain([Arg::FloatConst(0.1), Arg::FloatConst(1e-5)]).collect();
    let saved = if training { 2 } else { 0 };
    signature("native_batch_norm", args, vec![fresh(&[3, 2]), fresh(&[saved]), fresh(&[saved])])
}

#[test]
fn what_a_kernel_writes_though_its_schema_does_not_say_so_is_poisoned_with_its_input() {
    let mut client = Client::new();
    let bad = client.storage();
    let mm = client.define(signature("mm", vec![tensor(&[1, 2]), tensor(&[1, 2])], vec![fresh(&[3, 2])]));
    let a = client.tensor(&[1., 2.]);
    client.call(mm, &[a, a], Some(bad)).unwrap();
    let (mean, var) = (client.tensor(&[0., 0.]), client.tensor(&[1., 1.]));
    let evaluation = client.define(batch_norm(false));
    client.call(evaluation, &[bad, mean, var], Some(900)).unwrap();
    assert!(client.values(900, &[3, 2]).is_err());
    assert_eq!(client.values(mean, &[2]), Ok(vec![0., 0.]), "by given statistics it only reads them");
    let training = client.define(batch_norm(true));
    client.call(training, &[bad, mean, var], Some(910)).unwrap();
    for statistics in [mean, var] {
        assert_eq!(client.values(statistics, &[2]).unwrap_err().operator, "aten::mm");
    }
    let (mean, var) = (client.tensor(&[0., 0.]), client.tensor(&[1., 1.]));
    let good = client.tensor(&[1., 2., 3., 4., 5., 6.]);
    client.call(training, &[good, mean, var], Some(920)).unwrap();
    let moved = client.values(mean, &[2]).unwrap();
    assert!((moved[0] - 0.3).abs() < 1e-6 && (moved[1] - 0.4).abs() < 1e-6, "{moved:?}");
    assert!(client.values(var, &[2]).is_ok());
    let gather = [tensor(&[3, 2]), tensor(&[1, 2]), tensor(&[1, 2]), tensor(&[2]), tensor(&[2])];
    let rest = [Arg::FloatConst(0.1), Arg::FloatConst(1e-5), Arg::Int(3)];
    let args = gather.into_iter().chain(rest).collect();
    let gather = client.define(signature("batch_norm_gather_stats", args, vec![fresh(&[2]), fresh(&[2])]));
    client.call(gather, &[bad, a, a, mean, var], Some(930)).unwrap();
    assert!(client.values(mean, &[2]).is_err() && client.values(var, &[2]).is_err());
}

#[test]
fn what_an_operator_without_results_would_have_written_is_poisoned_though_it_is_not_known_here() {
    let mut client = Client::new();
    let (read, written) = (client.tensor(&[1., 2.]), client.tensor(&[3., 4.]));
    let mut custom = signature("no_such_operator_", vec![tensor(&[2]), tensor(&[2])], vec![]);
    custom.written = vec![1];
    let number = client.define(custom);
    client.call(number, &[read, written], None).unwrap();
    assert_eq!(client.values(read, &[2]), Ok(vec![1., 2.]));
    assert_eq!(client.values(written, &[2]).unwrap_err().operator, "aten::no_such_operator_");
}

/// Runs this test, of this name, again in a process of its own, which does what the test is for; true in the one that only waits for it.
///
/// The default dtype is one for the process: that of a slot runs one executor, that of the tests one for each test at once.
fn done_in_a_process_of_its_own(name: &str) -> bool {
    const ALONE: &str = "TORCH_REMOTE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let name = format!("{}::{name}", module_path!().split_once("::").expect("a module of this crate").1);
    let mut alone = std::process::Command::new(std::env::current_exe().expect("this program"));
    let done = alone.args(["--exact", &name, "--nocapture"]).env(ALONE, "1").output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("1 passed"), "no test has the name {name}: {said}");
    true
}

#[test]
fn an_operator_runs_under_the_default_dtype_of_its_signature() {
    if done_in_a_process_of_its_own("an_operator_runs_under_the_default_dtype_of_its_signature") {
        return;
    }
    let mut client = Client::new();
    let half = |default_dtype, dtype: u8, bytes| {
        let whole = Arg::Tensor(TensorMeta { dtype: 4, ..meta(&[2]) });
        let output = Output::Fresh { bytes, meta: TensorMeta { dtype, ..meta(&[2]) } };
        Signature { default_dtype, ..signature("div.Tensor", vec![whole, Arg::CpuScalar(7 | 128)], vec![output]) }
    };
    let whole = client.storage();
    client.run(Command::Create { storage: StorageId(whole), bytes: 16 }).unwrap();
    let longs = View { meta: TensorMeta { dtype: 4, ..meta(&[2]) }, ..view(whole, &[2]) };
    client.run(Command::Write { view: longs, data: [1i64, 3].map(i64::to_le_bytes).concat().into() }).unwrap();
    let mut two = [0; 16];
    two[..8].copy_from_slice(&2f64.to_le_bytes());
    let (double, single) = (client.define(half(7, 7, 16)), client.define(half(6, 6, 8)));
    for (number, output) in [(single, 800), (double, 801), (single, 802)] {
        let args = CallArgs {
            views: vec![(StorageId(whole), 0)],
            scalars: vec![two],
            first_output: Some(StorageId(output)),
            ..CallArgs::default()
        };
        client.run(Command::Call { signature: SignatureId(number), args }).unwrap();
    }
    assert_eq!(client.values(800, &[2]), Ok(vec![0.5, 1.5]));
    assert_eq!(client.values(802, &[2]), Ok(vec![0.5, 1.5]));
    let doubles = View { meta: TensorMeta { dtype: 7, ..meta(&[2]) }, ..view(801, &[2]) };
    assert_eq!(client.read(doubles), Ok([0.5f64, 1.5].map(f64::to_le_bytes).concat()));
    let nonsense = client.define(Signature { default_dtype: 4, ..half(7, 7, 16) });
    let args = CallArgs {
        views: vec![(StorageId(whole), 0)],
        scalars: vec![two],
        first_output: Some(StorageId(803)),
        ..CallArgs::default()
    };
    client.run(Command::Call { signature: SignatureId(nonsense), args }).unwrap();
    assert_eq!(client.values(803, &[2]).unwrap_err().class(), ErrorClass::TypeError);
}

/// A step of an arbitrary program over four storages of two floats.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// to = a + b, whole, through out=.
    AddOut(usize, usize, usize),
    /// to += a.
    AddIn(usize, usize),
    /// to[0] = 7 through a view.
    FillPart(usize),
    /// to = 5, whole, without reading.
    Fill(usize),
    /// to = a, whole, without reading `to`.
    Copy(usize, usize),
    /// Fails, and would have written to, whole.
    FailOut(usize, usize),
    /// Uploads [3, 4], whole, or 9 to the second element.
    Write(usize, bool),
    /// Frees it and makes it anew of a failing operator.
    Remake(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..4usize;
    let step = prop_oneof![
        (n.clone(), n.clone(), n.clone()).prop_map(|(to, a, b)| Step::AddOut(to, a, b)),
        (n.clone(), n.clone()).prop_map(|(to, a)| Step::AddIn(to, a)),
        n.clone().prop_map(Step::FillPart),
        n.clone().prop_map(Step::Fill),
        (n.clone(), n.clone()).prop_map(|(to, a)| Step::Copy(to, a)),
        (n.clone(), n.clone()).prop_map(|(to, a)| Step::FailOut(to, a)),
        (n.clone(), any::<bool>()).prop_map(|(to, whole)| Step::Write(to, whole)),
        n.prop_map(Step::Remake),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What README says, by hand: a value, or none.
fn model(state: &mut [Option<[f32; 2]>; 4], step: Step) {
    match step {
        Step::AddOut(to, a, b) => state[to] = state[a].zip(state[b]).map(|(a, b)| [a[0] + b[0], a[1] + b[1]]),
        Step::AddIn(to, a) => state[to] = state[to].zip(state[a]).map(|(x, a)| [x[0] + a[0], x[1] + a[1]]),
        Step::FillPart(to) => state[to] = state[to].map(|x| [7., x[1]]),
        Step::Fill(to) => state[to] = Some([5., 5.]),
        Step::Copy(to, a) => state[to] = state[a],
        Step::FailOut(to, _) => state[to] = None,
        Step::Write(to, true) => state[to] = Some([3., 4.]),
        Step::Write(to, false) => state[to] = state[to].map(|x| [x[0], 9.]),
        Step::Remake(to) => state[to] = None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_read_gives_the_right_value_or_raises(program in steps()) {
        let mut client = Client::new();
        let two = || tensor(&[2]);
        let add_out = client.define(signature("add.out", vec![two(), two(), Arg::Int(1), two()], vec![Output::Argument(3)]));
        let add_in = client.define(signature("add_.Tensor", vec![two(), two(), Arg::Int(1)], vec![Output::Argument(0)]));
        let fill_part = client.define(signature("fill_.Scalar", vec![tensor(&[1]), Arg::Int(7)], vec![Output::Argument(0)]));
        let fill = client.define(signature("fill_.Scalar", vec![two(), Arg::Int(5)], vec![Output::Argument(0)]));
        let copy = client.define(signature("copy_", vec![two(), two(), Arg::Bool(false)], vec![Output::Argument(0)]));
        let fail_out = client.define(signature("mm.out", vec![tensor(&[1, 2]), tensor(&[1, 2]), tensor(&[1, 2])], vec![Output::Argument(2)]));
        let fail = client.define(failing());
        let mut ids: Vec<u64> = (0..4).map(|i| client.tensor(&[i as f32, i as f32 + 10.])).collect();
        let mut state: [Option<[f32; 2]>; 4] = std::array::from_fn(|i| Some([i as f32, i as f32 + 10.]));
        for step in program {
            match step {
                Step::AddOut(to, a, b) => client.call(add_out, &[ids[a], ids[b], ids[to]], None).unwrap(),
                Step::AddIn(to, a) => client.call(add_in, &[ids[to], ids[a]], None).unwrap(),
                Step::FillPart(to) => client.call(fill_part, &[ids[to]], None).unwrap(),
                Step::Fill(to) => client.call(fill, &[ids[to]], None).unwrap(),
                // A copy onto itself reads what it writes.
                Step::Copy(to, a) => client.call(copy, &[ids[to], ids[a]], None).unwrap(),
                Step::FailOut(to, a) => client.call(fail_out, &[ids[a], ids[a], ids[to]], None).unwrap(),
                Step::Write(to, whole) => {
                    let (view, data) = if whole { (view(ids[to], &[2]), [3f32, 4.].map(f32::to_le_bytes).concat()) } else { (View { offset: 1, ..view(ids[to], &[1]) }, 9f32.to_le_bytes().to_vec()) };
                    client.run(Command::Write { view, data: data.into() }).unwrap();
                }
                Step::Remake(to) => {
                    client.run(Command::Free(StorageId(ids[to]))).unwrap();
                    let source = client.tensor(&[0., 0.]);
                    ids[to] = client.storage();
                    client.call(fail, &[source, source], Some(ids[to])).unwrap();
                }
            }
            model(&mut state, step);
            for (id, expected) in ids.iter().zip(&state) {
                prop_assert_eq!(client.values(*id, &[2]).ok(), expected.map(Vec::from), "after {:?}", step);
            }
        }
    }
}

#[test]
fn bytes_take_the_shape_of_what_fills_them_and_not_of_a_part() {
    let mut client = Client::new();
    let id = client.storage();
    client.run(Command::Create { storage: StorageId(id), bytes: 8 }).unwrap();
    let made = |client: &mut Client| {
        let made = client.executor.table().get(StorageId(id)).unwrap().made();
        (made.dtype, made.sizes.clone())
    };
    client.run(Command::Write { view: view(id, &[1]), data: Bytes::from_static(&[0; 4]) }).unwrap();
    assert_eq!(made(&mut client), (None, vec![8]));
    client.run(Command::Write { view: view(id, &[2]), data: Bytes::from_static(&[0; 8]) }).unwrap();
    assert_eq!(made(&mut client), (Some(6), vec![2]));
}
