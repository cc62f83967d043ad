//! `driver.h` in Rust: the same structures, byte for byte, and the functions that C++ implements.

use std::ffi::{c_char, c_int, c_void};

pub(crate) const OK: i32 = 0;
pub(crate) const UNDEFINED_SIGNATURE: i32 = 1;
pub(crate) const PENDING: i32 = 2;
pub(crate) const ERROR: i32 = -1;

#[repr(C)]
pub(crate) struct Error {
    pub error_class: i32,
    pub message: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Tensor {
    pub dtype: u8,
    pub flags: u8,
    pub ndim: u32,
    pub sizes: *const i64,
    pub strides: *const i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub storage: u64,
    pub offset: i64,
    pub meta: Tensor,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) union Items {
    pub ints: *const i64,
    pub doubles: *const f64,
    pub text: *const c_char,
    pub items: *const Arg,
}

#[repr(C)]
pub(crate) struct Arg {
    pub kind: u8,
    pub len: u32,
    pub i: i64,
    pub d: f64,
    pub tensor: Tensor,
    pub u: Items,
}

#[repr(C)]
pub(crate) struct Output {
    pub kind: u8,
    pub slot: u32,
    pub offset: i64,
    pub bytes: u64,
    pub meta: Tensor,
    pub len: u32,
    pub items: *const Output,
}

#[repr(C)]
pub(crate) struct Resized {
    pub slot: u32,
    pub meta: Tensor,
}

#[repr(C)]
pub(crate) struct Signature {
    pub name: *const c_char,
    pub overload: *const c_char,
    pub args: *const Arg,
    pub nargs: u32,
    pub outputs: *const Output,
    pub noutputs: u32,
    pub resized: *const Resized,
    pub nresized: u32,
    pub random: u8,
    pub default_dtype: u8,
    pub written: *const u32,
    pub nwritten: u32,
}

#[repr(C)]
pub(crate) struct CallArgs {
    pub nviews: u32,
    pub storages: *const u64,
    pub offsets: *const i64,
    pub nfloats: u32,
    pub floats: *const f64,
    /// Words: two per CPU scalar.
    pub nscalars: u32,
    pub scalars: *const u64,
    pub first_output: u64,
    pub seed: u64,
    pub count: u64,
}

#[repr(C)]
pub(crate) struct ValueTensor {
    pub undefined: u8,
    pub storage_bytes: u64,
    pub view: View,
}

#[repr(C)]
pub(crate) struct Value {
    pub kind: u8,
    pub len: u32,
    pub i: i64,
    pub d: f64,
    pub im: f64,
    pub tensors: *const ValueTensor,
    pub ints: *const i64,
    pub text: *const c_char,
}

#[repr(C)]
pub(crate) struct NowResized {
    pub slot: u32,
    pub storage_bytes: u64,
    pub meta: Tensor,
}

#[repr(C)]
pub(crate) struct Results {
    pub values: *const Value,
    pub nvalues: u32,
    pub resized: *const NowResized,
    pub nresized: u32,
}

#[repr(C)]
#[derive(Default)]
pub(crate) struct Counters {
    pub hits: u64,
    pub misses: u64,
    pub python_metas: u64,
    pub calls_now: u64,
    pub uncached: u64,
    pub operators: u64,
    pub reads: u64,
    pub writes: u64,
    pub cache_entries: u64,
}

pub(crate) type MissFn = extern "C" fn(*mut c_void, *const c_char, u64, u64, u64);

unsafe extern "C" {
    pub(crate) fn trd_register() -> c_int;
    pub(crate) fn trd_current_device() -> i32;
    pub(crate) fn trd_exchange_device(device: i32) -> i32;
    pub(crate) fn trd_default_generator(device: i32) -> *mut c_void;
    pub(crate) fn trd_counters_read(out: *mut Counters);
    pub(crate) fn trd_counters_reset();
    pub(crate) fn trd_misses_read(each: MissFn, context: *mut c_void);
    pub(crate) fn trd_label(tensor: *mut c_void, name: *const c_char) -> c_int;
    pub(crate) fn trd_set_blocking(on: c_int);
    pub(crate) fn trd_set_exceptions(remote_lost: *mut c_void, no_lease: *mut c_void);
    // Of CPython, exported by every version but not part of the limited API.
    pub(crate) fn PyGILState_Check() -> c_int;
}

/// A C array as a slice.
///
/// # Safety
/// `first` points to `count` initialised items that live and stay unchanged for `'a`, or `count` is 0.
pub(crate) unsafe fn slice<'a, T>(first: *const T, count: u32) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's duty.
    unsafe { std::slice::from_raw_parts(first, count as usize) }
}
