//! From C++'s signatures and calls to the wire's.

use std::ffi::CStr;

use torch_remote_proto::command::{
    Arg, CallArgs, Output, Resized, Signature, StorageId, TensorMeta, WRAPPED, WRAPPED_SCALAR,
};

use crate::failure::Failure;
use crate::raw;

/// Copies a tensor's metadata.
///
/// # Safety
/// `sizes` and `strides` point to `ndim` integers.
pub(crate) unsafe fn meta(tensor: &raw::Tensor) -> TensorMeta {
    // SAFETY: the caller's duty.
    let (sizes, strides) = unsafe { (raw::slice(tensor.sizes, tensor.ndim), raw::slice(tensor.strides, tensor.ndim)) };
    TensorMeta { dtype: tensor.dtype, flags: tensor.flags, sizes: sizes.to_vec(), strides: strides.to_vec() }
}

/// Copies a signature.
///
/// # Safety
/// Every pointer in it is valid for the count beside it; texts of names end with NUL.
pub(crate) unsafe fn signature(raw: &raw::Signature) -> Result<Signature, Failure> {
    // SAFETY: the caller's duty.
    unsafe {
        Ok(Signature {
            name: text(raw.name)?,
            overload: text(raw.overload)?,
            args: raw::slice(raw.args, raw.nargs).iter().map(|item| arg(item)).collect::<Result<_, _>>()?,
            outputs: raw::slice(raw.outputs, raw.noutputs).iter().map(|item| output(item)).collect::<Result<_, _>>()?,
            resized: raw::slice(raw.resized, raw.nresized)
                .iter()
                .map(|item| Resized { slot: item.slot, meta: meta(&item.meta) })
                .collect(),
            random: raw.random != 0,
            default_dtype: raw.default_dtype,
            written: raw::slice(raw.written, raw.nwritten).to_vec(),
        })
    }
}

/// SAFETY of the caller: `raw` is NULL or ends with NUL.
unsafe fn text(raw: *const std::ffi::c_char) -> Result<String, Failure> {
    if raw.is_null() {
        return Ok(String::new());
    }
    // SAFETY: the caller's duty.
    let text = unsafe { CStr::from_ptr(raw) };
    text.to_str().map(str::to_owned).map_err(|_| Failure::value("a name is not UTF-8"))
}

/// SAFETY of the caller: as for [`signature`].
unsafe fn arg(raw: &raw::Arg) -> Result<Arg, Failure> {
    // SAFETY: which member of the union is valid, and for how many items, follows from the kind.
    unsafe {
        Ok(match raw.kind {
            0 => Arg::None,
            1 => Arg::Tensor(meta(&raw.tensor)),
            2 if raw.tensor.flags & WRAPPED != 0 => Arg::CpuScalar(raw.tensor.dtype | WRAPPED_SCALAR),
            2 => Arg::CpuScalar(raw.tensor.dtype),
            3 => Arg::Int(raw.i),
            4 => Arg::Bool(raw.i != 0),
            5 => Arg::Float,
            6 => Arg::FloatConst(raw.d),
            7 => Arg::Complex,
            8 => Arg::Ints(raw::slice(raw.u.ints, raw.len).to_vec()),
            9 => Arg::Floats(raw::slice(raw.u.doubles, raw.len).to_vec()),
            10 => Arg::Bools(raw::slice(raw.u.ints, raw.len).iter().map(|item| *item != 0).collect()),
            11 => {
                let bytes = raw::slice(raw.u.text.cast::<u8>(), raw.len).to_vec();
                Arg::Text(String::from_utf8(bytes).map_err(|_| Failure::value("a text argument is not UTF-8"))?)
            }
            12 => Arg::Device,
            13 => Arg::CpuDevice,
            14 => Arg::Generator,
            15 => Arg::List(raw::slice(raw.u.items, raw.len).iter().map(|item| arg(item)).collect::<Result<_, _>>()?),
            other => return Err(Failure::runtime(format!("driver.h knows no argument kind {other}"))),
        })
    }
}

/// SAFETY of the caller: as for [`signature`].
unsafe fn output(raw: &raw::Output) -> Result<Output, Failure> {
    // SAFETY: the caller's duty.
    unsafe {
        Ok(match raw.kind {
            0 => Output::Fresh { bytes: raw.bytes, meta: meta(&raw.meta) },
            1 => Output::Alias { slot: raw.slot, offset: raw.offset, meta: meta(&raw.meta) },
            2 => Output::Argument(raw.slot),
            3 => Output::Undefined,
            4 => {
                Output::List(raw::slice(raw.items, raw.len).iter().map(|item| output(item)).collect::<Result<_, _>>()?)
            }
            other => return Err(Failure::runtime(format!("driver.h knows no output kind {other}"))),
        })
    }
}

/// Copies a call's places.
///
/// # Safety
/// Every pointer in it is valid for the count beside it; `scalars` holds an even count of words.
pub(crate) unsafe fn call(raw: &raw::CallArgs, random: bool) -> CallArgs {
    // SAFETY: the caller's duty.
    let (storages, offsets, floats, scalars) = unsafe {
        (
            raw::slice(raw.storages, raw.nviews),
            raw::slice(raw.offsets, raw.nviews),
            raw::slice(raw.floats, raw.nfloats),
            raw::slice(raw.scalars.cast::<[u8; 16]>(), raw.nscalars / 2),
        )
    };
    CallArgs {
        views: storages.iter().map(|storage| StorageId(*storage)).zip(offsets.iter().copied()).collect(),
        floats: floats.to_vec(),
        scalars: scalars.to_vec(),
        random: random.then_some((raw.seed, raw.count)),
        first_output: Some(StorageId(raw.first_output)),
    }
}
