//! Mirrors of `boxed.h`, and the conversion of signatures to them.

use torch_remote_proto::command::{WRAPPED, WRAPPED_SCALAR};

use super::*;

pub const FATAL: c_int = 100;

#[repr(C)]
#[derive(Debug)]
pub struct Storage {
    opaque: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct Signature {
    opaque: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct Now {
    opaque: [u8; 0],
}

/// How a tensor slot is used, for poison.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// 1: its old values matter.
    pub reads: u8,
    /// 1: it gets new ones.
    pub writes: u8,
    /// Of a slot that is written and not read: bytes of storage covered without a gap at offset 0; else -1.
    pub covers: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Meta {
    dtype: u8,
    flags: u8,
    ndim: u32,
    sizes: *const i64,
    strides: *const i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawArg {
    kind: u8,
    len: u32,
    i: i64,
    d: f64,
    tensor: Meta,
    p: *const c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawOutput {
    kind: u8,
    slot: u32,
    offset: i64,
    bytes: u64,
    meta: Meta,
    len: u32,
    items: *const RawOutput,
}

#[repr(C)]
pub struct RawResized {
    slot: u32,
    meta: Meta,
}

#[repr(C)]
pub struct Description {
    name: *const c_char,
    overload: *const c_char,
    args: *const RawArg,
    nargs: u32,
    outputs: *const RawOutput,
    noutputs: u32,
    resized: *const RawResized,
    nresized: u32,
    now: u8,
    random: u8,
    default_dtype: u8,
}

#[repr(C)]
pub struct Call {
    pub storages: *const *mut Storage,
    pub offsets: *const i64,
    pub floats: *const f64,
    pub scalars: *const u8,
    pub seed: u64,
}

#[repr(C)]
struct ResultTensor {
    undefined: u8,
    dtype: u8,
    slot: i32,
    fresh: u32,
    ndim: u32,
    sizes: *const i64,
    strides: *const i64,
    offset: i64,
    storage_bytes: u64,
}

#[repr(C)]
struct RawValue {
    kind: u8,
    len: u32,
    i: i64,
    d: f64,
    im: f64,
    text: *const c_char,
    ints: *const i64,
    tensors: *const ResultTensor,
}

#[repr(C)]
struct NowResized {
    slot: u32,
    ndim: u32,
    sizes: *const i64,
    strides: *const i64,
    storage_bytes: u64,
}

#[repr(C)]
pub struct NowView {
    values: *const RawValue,
    nvalues: u32,
    fresh: *const *mut Storage,
    nfresh: u32,
    resized: *const NowResized,
    nresized: u32,
}

#[link(name = "boxed", kind = "static")]
unsafe extern "C" {
    pub fn trb_error_message() -> *const c_char;
    pub fn trb_torch_version() -> *const c_char;
    pub fn trb_begin(cuda: c_int, threads: c_int) -> c_int;
    pub fn trb_thread_begin();
    pub fn trb_limit(bytes: u64);
    pub fn trb_allocated() -> u64;
    pub fn trb_synchronize() -> c_int;
    pub fn trb_device_memory(total: *mut u64, unused: *mut u64);
    pub fn trb_storage_new(bytes: u64, out: *mut *mut Storage) -> c_int;
    pub fn trb_storage_release(storage: *mut Storage);
    pub fn trb_storage_bytes(storage: *const Storage) -> u64;
    pub fn trb_storage_resize(storage: *mut Storage, bytes: u64) -> c_int;
    pub fn trb_write(storage: *mut Storage, offset: i64, meta: *const Meta, data: *const u8, bytes: u64) -> c_int;
    pub fn trb_read(storage: *mut Storage, offset: i64, meta: *const Meta, data: *mut u8, bytes: u64) -> c_int;
    pub fn trb_measure(
        storage: *const Storage,
        offset: i64,
        meta: *const Meta,
        bytes: *mut u64,
        contiguous: *mut c_int,
        covers: *mut i64,
    ) -> c_int;
    pub fn trb_prepare(description: *const Description, out: *mut *mut Signature) -> c_int;
    pub fn trb_signature_free(signature: *mut Signature);
    pub fn trb_signature_slots(signature: *const Signature, slots: *mut *const Slot) -> u32;
    pub fn trb_run(signature: *mut Signature, call: *const Call, fresh: *mut *mut Storage) -> c_int;
    pub fn trb_run_now(signature: *mut Signature, call: *const Call, out: *mut *mut Now, view: *mut NowView) -> c_int;
    pub fn trb_now_free(now: *mut Now);
}

const NO_META: Meta = Meta { dtype: 0, flags: 0, ndim: 0, sizes: std::ptr::null(), strides: std::ptr::null() };

impl Meta {
    /// Borrows from `meta`: it must outlive the result.
    pub fn of(meta: &TensorMeta) -> Meta {
        assert_eq!(meta.sizes.len(), meta.strides.len(), "the decoder gives sizes and strides equal lengths");
        Meta {
            dtype: meta.dtype,
            flags: meta.flags,
            ndim: meta.sizes.len() as u32,
            sizes: meta.sizes.as_ptr(),
            strides: meta.strides.as_ptr(),
        }
    }
}

/// A signature's raw form with all it points to. Borrows the metas and lists of the signature it was made of.
pub struct Owned<'a> {
    name: CString,
    overload: CString,
    args: Vec<RawArg>,
    outputs: Vec<RawOutput>,
    resized: Vec<RawResized>,
    default_dtype: u8,
    /// Item arrays that `args` and `outputs` point into.
    _arg_lists: Vec<Vec<RawArg>>,
    _output_lists: Vec<Vec<RawOutput>>,
    _bools: Vec<Vec<u8>>,
    _signature: PhantomData<&'a super::Signature>,
}

impl<'a> Owned<'a> {
    pub fn of(signature: &'a super::Signature) -> super::Result<Owned<'a>> {
        let text = |text: &str| {
            CString::new(text).map_err(|_| Error::Torch {
                class: ErrorClass::NotImplementedError,
                message: "an operator's name holds a NUL".to_owned(),
            })
        };
        let (mut arg_lists, mut output_lists, mut bools) = (Vec::new(), Vec::new(), Vec::new());
        let args = signature.args.iter().map(|arg| raw_arg(arg, &mut arg_lists, &mut bools)).collect();
        let outputs = signature.outputs.iter().map(|output| raw_output(output, &mut output_lists)).collect();
        let resized = signature
            .resized
            .iter()
            .map(|entry| RawResized { slot: entry.slot, meta: Meta::of(&entry.meta) })
            .collect();
        Ok(Owned {
            name: text(&signature.name)?,
            overload: text(&signature.overload)?,
            args,
            outputs,
            resized,
            default_dtype: signature.default_dtype,
            _arg_lists: arg_lists,
            _output_lists: output_lists,
            _bools: bools,
            _signature: PhantomData,
        })
    }

    /// Borrows from self.
    pub fn view(&self, now: bool, random: bool) -> Description {
        Description {
            name: self.name.as_ptr(),
            overload: self.overload.as_ptr(),
            args: self.args.as_ptr(),
            nargs: self.args.len() as u32,
            outputs: self.outputs.as_ptr(),
            noutputs: self.outputs.len() as u32,
            resized: self.resized.as_ptr(),
            nresized: self.resized.len() as u32,
            now: u8::from(now),
            random: u8::from(random),
            default_dtype: self.default_dtype,
        }
    }
}

fn raw_arg(arg: &Arg, lists: &mut Vec<Vec<RawArg>>, bools: &mut Vec<Vec<u8>>) -> RawArg {
    let plain = |kind| RawArg { kind, len: 0, i: 0, d: 0.0, tensor: NO_META, p: std::ptr::null() };
    let array = |kind, len: usize, p: *const c_void| RawArg { len: len as u32, p, ..plain(kind) };
    match arg {
        Arg::None => plain(0),
        Arg::Tensor(meta) => RawArg { tensor: Meta::of(meta), ..plain(1) },
        Arg::CpuScalar(dtype) => {
            let flags = if dtype & WRAPPED_SCALAR != 0 { WRAPPED } else { 0 };
            RawArg { tensor: Meta { dtype: dtype & !WRAPPED_SCALAR, flags, ..NO_META }, ..plain(2) }
        }
        Arg::Int(value) => RawArg { i: *value, ..plain(3) },
        Arg::Bool(value) => RawArg { i: i64::from(*value), ..plain(4) },
        Arg::Float => plain(5),
        Arg::FloatConst(value) => RawArg { d: *value, ..plain(6) },
        Arg::Complex => plain(7),
        Arg::Ints(values) => array(8, values.len(), values.as_ptr().cast()),
        Arg::Floats(values) => array(9, values.len(), values.as_ptr().cast()),
        Arg::Bools(values) => {
            let bytes: Vec<u8> = values.iter().map(|value| u8::from(*value)).collect();
            let raw = array(10, bytes.len(), bytes.as_ptr().cast());
            bools.push(bytes);
            raw
        }
        Arg::Text(text) => array(11, text.len(), text.as_ptr().cast()),
        Arg::Device => plain(12),
        Arg::CpuDevice => plain(13),
        Arg::Generator => plain(14),
        Arg::List(items) => {
            let items: Vec<RawArg> = items.iter().map(|item| raw_arg(item, lists, bools)).collect();
            let raw = array(15, items.len(), items.as_ptr().cast());
            lists.push(items);
            raw
        }
    }
}

fn raw_output(output: &Output, lists: &mut Vec<Vec<RawOutput>>) -> RawOutput {
    let plain = |kind| RawOutput { kind, slot: 0, offset: 0, bytes: 0, meta: NO_META, len: 0, items: std::ptr::null() };
    match output {
        Output::Fresh { bytes, meta } => RawOutput { bytes: *bytes, meta: Meta::of(meta), ..plain(0) },
        Output::Alias { slot, offset, meta } => {
            RawOutput { slot: *slot, offset: *offset, meta: Meta::of(meta), ..plain(1) }
        }
        Output::Argument(position) => RawOutput { slot: *position, ..plain(2) },
        Output::Undefined => plain(3),
        Output::List(items) => {
            let items: Vec<RawOutput> = items.iter().map(|item| raw_output(item, lists)).collect();
            let raw = RawOutput { len: items.len() as u32, items: items.as_ptr(), ..plain(4) };
            lists.push(items);
            raw
        }
    }
}

impl Default for NowView {
    fn default() -> Self {
        use std::ptr::null;
        NowView { values: null(), nvalues: 0, fresh: null(), nfresh: 0, resized: null(), nresized: 0 }
    }
}

impl NowView {
    /// Copies all out and takes the storages over.
    ///
    /// # Safety
    /// As trb_run_now left it, once, before trb_now_free.
    pub unsafe fn take(&self) -> NowResults {
        // SAFETY: the arrays are as long as said; the storages are ours from here on.
        unsafe {
            let fresh = items(self.fresh, self.nfresh)
                .iter()
                .map(|pointer| super::Storage(NonNull::new(*pointer).expect("a new storage is not null")))
                .collect();
            let values = items(self.values, self.nvalues).iter().map(|value| now_value(value)).collect();
            let resized = items(self.resized, self.nresized)
                .iter()
                .map(|entry| ResizedArgument {
                    slot: entry.slot,
                    sizes: items(entry.sizes, entry.ndim).to_vec(),
                    strides: items(entry.strides, entry.ndim).to_vec(),
                    storage_bytes: entry.storage_bytes,
                })
                .collect();
            NowResults { fresh, values, resized }
        }
    }
}

/// # Safety
/// `pointer` is `count` readable items, or anything if `count` is 0.
unsafe fn items<'a, T>(pointer: *const T, count: u32) -> &'a [T] {
    // SAFETY: the caller's promise.
    if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(pointer, count as usize) } }
}

/// # Safety
/// `value` is as trb_run_now left it.
unsafe fn now_value(value: &RawValue) -> NowValue {
    // SAFETY: each pointer is set where its kind says so.
    unsafe {
        NowValue::Plain(match value.kind {
            1 => return NowValue::Tensor(now_tensor(&*value.tensors)),
            2 => {
                return NowValue::Tensors(
                    items(value.tensors, value.len).iter().map(|tensor| now_tensor(tensor)).collect(),
                );
            }
            3 => value::Kind::Integer(value.i),
            4 => value::Kind::Float(value.d),
            5 => value::Kind::Boolean(value.i != 0),
            6 => value::Kind::Text(CStr::from_ptr(value.text).to_string_lossy().into_owned()),
            7 => value::Kind::Integers(torch_remote_proto::v1::Integers {
                values: items(value.ints, value.len).to_vec(),
            }),
            8 => value::Kind::Argument(value.i as u32),
            9 => value::Kind::Complex(torch_remote_proto::v1::Complex { re: value.d, im: value.im }),
            _ => value::Kind::None(true),
        })
    }
}

/// # Safety
/// As trb_run_now left it.
unsafe fn now_tensor(tensor: &ResultTensor) -> NowTensor {
    let origin = match (tensor.undefined, tensor.slot) {
        (0, slot) if slot >= 0 => Origin::Slot(slot as u32),
        (0, _) => Origin::Fresh(tensor.fresh),
        (_, _) => Origin::Undefined,
    };
    // SAFETY: both arrays have `ndim` items.
    let (sizes, strides) =
        unsafe { (items(tensor.sizes, tensor.ndim).to_vec(), items(tensor.strides, tensor.ndim).to_vec()) };
    let value = TensorValue {
        undefined: tensor.undefined != 0,
        storage: 0,
        dtype: u32::from(tensor.dtype),
        sizes,
        strides,
        offset: tensor.offset,
        storage_bytes: tensor.storage_bytes,
    };
    NowTensor { origin, value }
}

impl NowValue {
    /// The value to send; `name` gives each tensor's storage its id.
    pub fn named(self, mut name: impl FnMut(Origin) -> u64) -> Value {
        let mut named = |tensor: NowTensor| TensorValue { storage: name(tensor.origin), ..tensor.value };
        let kind = match self {
            NowValue::Tensor(tensor) => value::Kind::Tensor(named(tensor)),
            NowValue::Tensors(tensors) => {
                value::Kind::Tensors(TensorValues { tensors: tensors.into_iter().map(named).collect() })
            }
            NowValue::Plain(kind) => kind,
        };
        Value { kind: Some(kind) }
    }
}
