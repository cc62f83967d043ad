//! Every kind of argument and result, against the same call through `at::`.

use tch::{Kind, Tensor};
use torch_remote_proto::v1::value;

use super::*;

/// An argument with its value.
enum Given {
    Tensor(Tensor),
    Scalar(f64),
    Complex(f64, f64),
    CpuScalar(f32),
    /// A Python number as PyTorch wraps it: double, and without a say in the result's dtype.
    Wrapped(f64),
    List(Vec<Given>),
    As(Arg),
}
use Given::As;

fn t(tensor: &Tensor) -> Given {
    Given::Tensor(tensor.shallow_clone())
}

fn raw(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.contiguous();
    let mut data = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut data, tensor.numel());
    data
}

fn dtype(kind: Kind) -> u8 {
    match kind {
        Kind::Uint8 => 0,
        Kind::Int => 3,
        Kind::Int64 => 4,
        Kind::Float => 6,
        Kind::Double => 7,
        Kind::ComplexFloat => 9,
        Kind::Bool => 11,
        other => panic!("{other:?} is not used here"),
    }
}

fn meta_of(tensor: &Tensor) -> TensorMeta {
    TensorMeta { dtype: dtype(tensor.kind()), flags: 0, sizes: tensor.size(), strides: tensor.stride() }
}

fn extent(meta: &TensorMeta) -> i64 {
    if meta.sizes.contains(&0) {
        0
    } else {
        meta.sizes.iter().zip(&meta.strides).map(|(size, stride)| (size - 1) * stride).sum::<i64>() + 1
    }
}

/// Fills a signature's places.
fn give(client: &mut Client, given: Given, args: &mut CallArgs) -> Arg {
    match given {
        Given::Tensor(tensor) => {
            let (id, meta) = (client.storage(), meta_of(&tensor));
            let bytes = extent(&meta) as u64 * tensor.kind().elt_size_in_bytes() as u64;
            client.run(Command::Create { storage: StorageId(id), bytes }).unwrap();
            let view = View { storage: StorageId(id), offset: 0, meta: meta.clone() };
            client.run(Command::Write { view, data: raw(&tensor).into() }).unwrap();
            args.views.push((StorageId(id), 0));
            Arg::Tensor(meta)
        }
        Given::Scalar(value) => {
            args.floats.push(value);
            Arg::Float
        }
        Given::Complex(re, im) => {
            args.floats.extend([re, im]);
            Arg::Complex
        }
        Given::CpuScalar(value) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&value.to_le_bytes());
            args.scalars.push(bytes);
            Arg::CpuScalar(6)
        }
        Given::Wrapped(value) => {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&value.to_le_bytes());
            args.scalars.push(bytes);
            Arg::CpuScalar(7 | torch_remote_proto::command::WRAPPED_SCALAR)
        }
        Given::List(items) => Arg::List(items.into_iter().map(|item| give(client, item, args)).collect()),
        As(arg) => arg,
    }
}

/// Runs an operator and compares each result with what is expected, in the expected layout.
fn check(name: &str, given: Vec<Given>, expected: &[Tensor]) {
    let mut client = Client::new();
    let mut args = CallArgs::default();
    let kinds: Vec<Arg> = given.into_iter().map(|given| give(&mut client, given, &mut args)).collect();
    let output = |tensor: &Tensor| {
        let meta = meta_of(tensor);
        Output::Fresh { bytes: extent(&meta) as u64 * tensor.kind().elt_size_in_bytes() as u64, meta }
    };
    let outputs: Vec<Output> = expected.iter().map(output).collect();
    let number = client.define(signature(name, kinds, outputs));
    let first = 10_000;
    args.first_output = Some(StorageId(first));
    client.run(Command::Call { signature: SignatureId(number), args }).unwrap();
    for (id, tensor) in (first..).zip(expected) {
        let data = client.read(View { storage: StorageId(id), offset: 0, meta: meta_of(tensor) });
        assert_eq!(data, Ok(raw(tensor)), "{name}");
    }
}

fn matrix(rows: i64, columns: i64) -> Tensor {
    (Tensor::arange(rows * columns, (Kind::Float, tch::Device::Cpu)) * 0.5 - 1.).reshape([rows, columns])
}

#[test]
fn each_kind_of_argument_arrives() {
    device();
    let (a, b) = (matrix(3, 4), matrix(3, 4) * 2.);
    check("add.Tensor", vec![t(&a), t(&b), Given::Scalar(2.5)], &[&a + &b * 2.5]);
    check("add.Tensor", vec![t(&a), t(&b), As(Arg::Int(3))], &[&a + &b * 3.]);
    check("add.Tensor", vec![t(&a), Given::CpuScalar(1.5), As(Arg::Int(1))], &[&a + 1.5]);
    let number = Tensor::from(2f32);
    check("mul.Tensor", vec![t(&number), Given::Wrapped(1.5)], &[Tensor::from(3f32)]);
    check("add.Scalar", vec![t(&a), As(Arg::Bool(true)), As(Arg::Int(1))], &[&a + 1.]);
    check("mul.Tensor", vec![t(&a.transpose(0, 1)), t(&b.transpose(0, 1))], &[(&a * &b).transpose(0, 1)]);
    check("cat", vec![Given::List(vec![t(&a), t(&b), t(&a)]), As(Arg::Int(1))], &[Tensor::cat(&[&a, &b, &a], 1)]);
    let weight = matrix(5, 4);
    check("linear", vec![t(&a), t(&weight), As(Arg::None)], &[a.linear(&weight, None::<&Tensor>)]);
    let sums = a.sum_dim_intlist(&[0i64, 1][..], true, Kind::Double);
    check("sum.dim_IntList", vec![t(&a), As(Arg::Ints(vec![0, 1])), As(Arg::Bool(true)), As(Arg::Int(7))], &[sums]);
    let rows = a.sum_dim_intlist(&[1i64][..], false, Kind::Float);
    check("sum.dim_IntList", vec![t(&a), As(Arg::Int(1)), As(Arg::Bool(false)), As(Arg::None)], &[rows]);
    check(
        "div.Tensor_mode",
        vec![t(&a), t(&b), As(Arg::Text("floor".to_owned()))],
        &[a.divide_tensor_mode(&b, "floor")],
    );
    check("clamp", vec![t(&a), As(Arg::None), Given::Scalar(0.25)], &[a.clamp_max(0.25)]);
    check("leaky_relu", vec![t(&a), As(Arg::FloatConst(0.5))], &[a.maximum(&(&a * 0.5))]);
    let options = || [As(Arg::Int(6)), As(Arg::Int(0)), As(Arg::Device), As(Arg::Bool(false))];
    let mut full = vec![As(Arg::Ints(vec![2, 2])), Given::Scalar(0.5)];
    full.extend(options());
    check("full", full, &[Tensor::full([2, 2], 0.5, (Kind::Float, tch::Device::Cpu))]);
    let index = Tensor::from_slice(&[2i64, 0]);
    let picked = a.index(&[None, Some(&index)]);
    check("index.Tensor", vec![t(&a), Given::List(vec![As(Arg::None), t(&index)])], &[picked]);
    let image = matrix(2, 8).reshape([1, 1, 4, 4]);
    let doubled = image.upsample_nearest2d([8, 8], None, None);
    check("upsample_nearest2d.vec", vec![t(&image), As(Arg::None), As(Arg::Floats(vec![2., 2.]))], &[doubled]);
    let complex = Tensor::complex(&a, &b);
    let moved = Tensor::complex(&(&a + 1.), &(&b + 2.));
    check("add.Scalar", vec![t(&complex), Given::Complex(1., 2.), As(Arg::Int(1))], &[moved]);
}

#[test]
fn lists_of_numbers_and_lists_of_results_travel() {
    device();
    let (a, b) = (matrix(2, 2), matrix(2, 3));
    let numbers = vec![Given::Scalar(0.5), As(Arg::Int(2))];
    let sums = Output::List(vec![fresh(&[2, 2]), fresh(&[2, 3])]);
    let mut client = Client::new();
    let mut args = CallArgs { first_output: Some(StorageId(10_000)), ..CallArgs::default() };
    let kinds = vec![
        give(&mut client, Given::List(vec![t(&a), t(&b)]), &mut args),
        give(&mut client, Given::List(numbers), &mut args),
    ];
    let number = client.define(signature("_foreach_add.ScalarList", kinds, vec![sums]));
    client.run(Command::Call { signature: SignatureId(number), args }).unwrap();
    assert_eq!(client.read(view(10_000, &[2, 2])), Ok(raw(&(&a + 0.5))));
    assert_eq!(client.read(view(10_001, &[2, 3])), Ok(raw(&(&b + 2.))));
}

#[test]
fn several_results_and_results_that_are_not_there() {
    device();
    let x = matrix(3, 4);
    let (normal, mean, scale) = x.native_layer_norm([4], None::<Tensor>, None::<Tensor>, 1e-5);
    check(
        "native_layer_norm",
        vec![t(&x), As(Arg::Ints(vec![4])), As(Arg::None), As(Arg::None), As(Arg::FloatConst(1e-5))],
        &[normal, mean, scale],
    );
    let (image, kernel) = (matrix(4, 8).reshape([1, 2, 4, 4]), matrix(3, 8).reshape([3, 2, 2, 2]));
    let grad = matrix(3, 9).reshape([1, 3, 3, 3]);
    let mut client = Client::new();
    let mut args = CallArgs { first_output: Some(StorageId(10_000)), ..CallArgs::default() };
    let mut kinds: Vec<Arg> =
        [t(&grad), t(&image), t(&kernel)].into_iter().map(|given| give(&mut client, given, &mut args)).collect();
    kinds.extend([
        Arg::Ints(vec![3]),
        Arg::Ints(vec![1, 1]),
        Arg::Ints(vec![0, 0]),
        Arg::Ints(vec![1, 1]),
        Arg::Bool(false),
    ]);
    kinds.extend([Arg::Ints(vec![0, 0]), Arg::Int(1), Arg::Bools(vec![false, true, true])]);
    let outputs = vec![Output::Undefined, fresh(&[3, 2, 2, 2]), fresh(&[3])];
    let number = client.define(signature("convolution_backward", kinds, outputs));
    client.run(Command::Call { signature: SignatureId(number), args }).unwrap();
    let bias = grad.sum_dim_intlist(&[0i64, 2, 3][..], false, Kind::Float);
    assert_eq!(client.read(view(10_001, &[3])), Ok(raw(&bias)));
    assert_eq!(client.sync(), None);
}

#[test]
fn strides_are_converted_into_those_the_client_assumed() {
    device();
    let a = matrix(3, 4);
    // neg keeps the layout of its argument; the client assumed row-major, and the other way round.
    for (input, assumed) in [
        (a.transpose(0, 1), a.transpose(0, 1).contiguous()),
        (a.shallow_clone(), a.transpose(0, 1).contiguous().transpose(0, 1)),
    ] {
        let expected = assumed.neg();
        assert_ne!(input.neg().stride(), expected.stride());
        check("neg", vec![t(&input)], &[expected]);
    }
    // So does abs.out with an argument that it resizes.
    let mut client = Client::new();
    let id = client.tensor(&[-1., 2., -3., 4.]);
    let empty = client.storage();
    client.run(Command::Create { storage: StorageId(empty), bytes: 0 }).unwrap();
    let column_major = Arg::Tensor(TensorMeta { strides: vec![1, 2], ..meta(&[2, 2]) });
    let mut abs = signature("abs.out", vec![column_major, tensor(&[0])], vec![Output::Argument(1)]);
    abs.resized = vec![torch_remote_proto::command::Resized { slot: 1, meta: meta(&[2, 2]) }];
    let abs = client.define(abs);
    client.call(abs, &[id, empty], None).unwrap();
    assert_eq!(client.values(empty, &[2, 2]), Ok(vec![1., 3., 2., 4.]));
    // A functional operator that returns its argument gets a storage of its own.
    let mut client = Client::new();
    let id = client.tensor(&[1., 2.]);
    let same = client.define(signature("contiguous", vec![tensor(&[2]), Arg::Int(0)], vec![fresh(&[2])]));
    let zero = client.define(signature("zero_", vec![tensor(&[2])], vec![Output::Argument(0)]));
    client.call(same, &[id], Some(900)).unwrap();
    client.call(zero, &[id], None).unwrap();
    assert_eq!(client.values(900, &[2]), Ok(vec![1., 2.]));
    assert_eq!(client.values(id, &[2]), Ok(vec![0., 0.]));
}

#[test]
fn views_in_place_and_conjugates_are_the_arguments_own_bytes() {
    let mut client = Client::new();
    let id = client.tensor(&[1., 2., 3., 4.]);
    let alias = Output::Alias { slot: 0, offset: 0, meta: TensorMeta { strides: vec![1, 2], ..meta(&[2, 2]) } };
    let transpose = client.define(signature("t", vec![tensor(&[2, 2])], vec![alias]));
    client.call(transpose, &[id], None).unwrap();
    assert_eq!(client.sync(), None);
    let column = TensorMeta { strides: vec![2], ..meta(&[2]) };
    let fill = client.define(signature(
        "fill_.Scalar",
        vec![Arg::Tensor(column.clone()), Arg::Float],
        vec![Output::Argument(0)],
    ));
    let args = CallArgs { views: vec![(StorageId(id), 1)], floats: vec![9.], ..CallArgs::default() };
    client.run(Command::Call { signature: SignatureId(fill), args }).unwrap();
    assert_eq!(client.values(id, &[4]), Ok(vec![1., 9., 3., 9.]));
    let data = 5f32.to_le_bytes().repeat(2);
    client
        .run(Command::Write { view: View { storage: StorageId(id), offset: 0, meta: column }, data: data.into() })
        .unwrap();
    assert_eq!(client.values(id, &[4]), Ok(vec![5., 9., 5., 9.]));
    let lazily = TensorMeta { dtype: 9, flags: torch_remote_proto::command::CONJUGATE, ..meta(&[2]) };
    let read = client.read(View { storage: StorageId(id), offset: 0, meta: lazily }).unwrap();
    let parts: Vec<f32> = read.chunks(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect();
    assert_eq!(parts, [5., -9., 5., -9.]);
}

#[test]
fn random_operators_repeat_with_their_seed_and_count_and_differ_otherwise() {
    let mut client = Client::new();
    let mut normal = signature(
        "normal_",
        vec![tensor(&[64]), Arg::FloatConst(0.), Arg::FloatConst(1.), Arg::Generator],
        vec![Output::Argument(0)],
    );
    normal.random = true;
    let normal = client.define(normal);
    let mut draw = |seed, count| {
        let id = client.tensor(&[0.; 64]);
        let args = CallArgs { views: vec![(StorageId(id), 0)], random: Some((seed, count)), ..CallArgs::default() };
        client.run(Command::Call { signature: SignatureId(normal), args }).unwrap();
        client.values(id, &[64]).unwrap()
    };
    let first = draw(7, 0);
    assert_eq!(draw(7, 0), first);
    assert_ne!(draw(7, 1), first);
    assert_ne!(draw(8, 0), first);
    assert_ne!(draw(8, 0), draw(7, 1));
}

#[test]
fn results_whose_shape_depends_on_values_are_described() {
    let mut client = Client::new();
    let id = client.tensor(&[0., 3., 0., 5.]);
    let args = |first| CallArgs {
        views: vec![(StorageId(id), 0)],
        first_output: Some(StorageId(first)),
        ..CallArgs::default()
    };
    let results = client.now(signature("nonzero", vec![tensor(&[4])], vec![]), args(700)).unwrap();
    let Some(value::Kind::Tensor(found)) = &results.values[0].kind else { panic!("{results:?}") };
    assert_eq!((found.storage, found.dtype, found.sizes.as_slice(), found.offset), (700, 4, &[2, 1][..], 0));
    let view = View {
        storage: StorageId(700),
        offset: 0,
        meta: TensorMeta { dtype: 4, flags: 0, sizes: found.sizes.clone(), strides: found.strides.clone() },
    };
    assert_eq!(client.read(view), Ok([1i64, 3].map(i64::to_le_bytes).concat()));
    let results = client.now(
        signature("equal", vec![tensor(&[4]), tensor(&[4])], vec![]),
        CallArgs { views: vec![(StorageId(id), 0); 2], first_output: Some(StorageId(800)), ..CallArgs::default() },
    );
    assert_eq!(results.unwrap().values[0].kind, Some(value::Kind::Boolean(true)));
    let results = client
        .now(
            signature("slice.Tensor", vec![tensor(&[4]), Arg::Int(0), Arg::Int(1), Arg::Int(3), Arg::Int(1)], vec![]),
            args(900),
        )
        .unwrap();
    let Some(value::Kind::Tensor(slice)) = &results.values[0].kind else { panic!("{results:?}") };
    assert_eq!((slice.storage, slice.offset, slice.sizes.as_slice()), (id, 1, &[2][..]), "a view of the argument");
    let results = client.now(signature("zero_", vec![tensor(&[4])], vec![]), args(950)).unwrap();
    assert_eq!(results.values[0].kind, Some(value::Kind::Argument(0)));
    let empty = client.storage();
    client.run(Command::Create { storage: StorageId(empty), bytes: 0 }).unwrap();
    let out = CallArgs {
        views: vec![(StorageId(id), 0), (StorageId(empty), 0)],
        first_output: Some(StorageId(960)),
        ..CallArgs::default()
    };
    let results = client.now(signature("neg.out", vec![tensor(&[4]), tensor(&[0])], vec![]), out).unwrap();
    assert_eq!(
        (results.resized[0].slot, results.resized[0].sizes.as_slice(), results.resized[0].storage_bytes),
        (1, &[4][..], 16)
    );
    let failure = client.now(
        signature("mm", vec![tensor(&[2, 2]), tensor(&[4, 1])], vec![]),
        CallArgs { views: vec![(StorageId(id), 0); 2], first_output: Some(StorageId(970)), ..CallArgs::default() },
    );
    assert_eq!(failure.unwrap_err().message, "mat1 and mat2 shapes cannot be multiplied (2x2 and 4x1)");
    assert_eq!(client.sync(), None, "the reply has carried it");
}

#[test]
fn each_class_of_error_is_pytorchs() {
    let mut client = Client::new();
    let id = client.tensor(&[1., 2., 2., 4.]);
    let mut class = |name: &str, args: Vec<Arg>| {
        let slots = args.iter().filter(|arg| matches!(arg, Arg::Tensor(_))).count();
        let call = CallArgs {
            views: vec![(StorageId(id), 0); slots],
            first_output: Some(StorageId(1 << 40)),
            ..CallArgs::default()
        };
        client.now(signature(name, args, vec![]), call).unwrap_err().class()
    };
    let square = || tensor(&[2, 2]);
    assert_eq!(class("mm", vec![square(), tensor(&[1, 2])]), ErrorClass::RuntimeError);
    assert_eq!(class("squeeze.dim", vec![square(), Arg::Int(5)]), ErrorClass::IndexError);
    assert_eq!(class("linalg_inv_ex", vec![square(), Arg::Text("x".to_owned())]), ErrorClass::TypeError);
    assert_eq!(class("mm", vec![square()]), ErrorClass::TypeError);
    assert_eq!(class("linalg_cholesky", vec![square(), Arg::Bool(false)]), ErrorClass::LinalgError);
    assert_eq!(class("nothing", vec![square()]), ErrorClass::NotImplementedError);
}

#[test]
fn the_fused_cells_of_cuda_give_what_the_plain_ones_give() {
    device();
    let (input, hidden, cell) = (matrix(2, 3) * 0.1, matrix(2, 4) * 0.2, matrix(2, 4) * 0.3);
    let (wi, wh, bi, bh) = (
        matrix(16, 3) * 0.05,
        matrix(16, 4) * 0.04,
        matrix(1, 16).reshape([16]) * 0.1,
        matrix(1, 16).reshape([16]) * 0.2,
    );
    let gates = [input.matmul(&wi.transpose(0, 1)), hidden.matmul(&wh.transpose(0, 1))];
    let (hy, cy) = input.lstm_cell(&[&hidden, &cell], &wi, &wh, Some(&bi), Some(&bh));
    close(
        "_thnn_fused_lstm_cell",
        vec![t(&gates[0]), t(&gates[1]), t(&cell), t(&bi), t(&bh)],
        &[hy, cy],
        &[fresh(&[2, 16])],
    );
    let (wi, wh) = (wi.narrow(0, 0, 12).contiguous(), wh.narrow(0, 0, 12).contiguous());
    let (bi, bh) = (bi.narrow(0, 0, 12).contiguous(), bh.narrow(0, 0, 12).contiguous());
    let gates = [input.matmul(&wi.transpose(0, 1)), hidden.matmul(&wh.transpose(0, 1))];
    let hy = input.gru_cell(&hidden, &wi, &wh, Some(&bi), Some(&bh));
    close(
        "_thnn_fused_gru_cell",
        vec![t(&gates[0]), t(&gates[1]), t(&hidden), t(&bi), t(&bh)],
        &[hy],
        &[fresh(&[2, 20])],
    );
}

/// As `check`, within rounding, and with further results that are not looked at.
fn close(name: &str, given: Vec<Given>, expected: &[Tensor], further: &[Output]) {
    let mut client = Client::new();
    let mut args = CallArgs { first_output: Some(StorageId(10_000)), ..CallArgs::default() };
    let kinds: Vec<Arg> = given.into_iter().map(|given| give(&mut client, given, &mut args)).collect();
    let mut outputs: Vec<Output> = expected.iter().map(|tensor| fresh(&tensor.size())).collect();
    outputs.extend_from_slice(further);
    let number = client.define(signature(name, kinds, outputs));
    client.run(Command::Call { signature: SignatureId(number), args }).unwrap();
    for (id, tensor) in (10_000..).zip(expected) {
        let values = client.values(id, &tensor.size()).unwrap();
        let difference = (Tensor::from_slice(&values).reshape(tensor.size()) - tensor).abs().max().double_value(&[]);
        assert!(difference < 1e-6, "{name} differs by {difference}");
    }
}
