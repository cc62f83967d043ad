//! From the wire's results of a CallNow to C++'s, and back to the heap.

use std::ffi::CString;

use torch_remote_proto::v1::{self, value::Kind};

use crate::failure::Failure;
use crate::raw;

/// A `tr_results` with all it points to. C++ gets the address of `head`, which is the first field.
#[repr(C)]
pub(crate) struct Results {
    head: raw::Results,
    values: Vec<raw::Value>,
    resized: Vec<raw::NowResized>,
    tensors: Vec<Vec<raw::ValueTensor>>,
    integers: Vec<Vec<i64>>,
    texts: Vec<CString>,
}

impl Results {
    /// Takes the wire's values over.
    pub(crate) fn new(results: v1::Results) -> Result<Box<Self>, Failure> {
        let head = raw::Results { values: std::ptr::null(), nvalues: 0, resized: std::ptr::null(), nresized: 0 };
        let mut this = Box::new(Results {
            head,
            values: Vec::new(),
            resized: Vec::new(),
            tensors: Vec::new(),
            integers: Vec::new(),
            texts: Vec::new(),
        });
        for value in results.values {
            let kind = value.kind.ok_or_else(|| Failure::runtime("the executor sent an empty value"))?;
            let value = this.value(kind)?;
            this.values.push(value);
        }
        for resized in results.resized {
            let meta = this.meta(0, resized.sizes, resized.strides)?;
            this.resized.push(raw::NowResized { slot: resized.slot, storage_bytes: resized.storage_bytes, meta });
        }
        this.head = raw::Results {
            values: this.values.as_ptr(),
            nvalues: this.values.len() as u32,
            resized: this.resized.as_ptr(),
            nresized: this.resized.len() as u32,
        };
        Ok(this)
    }

    fn value(&mut self, kind: Kind) -> Result<raw::Value, Failure> {
        let mut value = raw::Value {
            kind: 0,
            len: 0,
            i: 0,
            d: 0.0,
            im: 0.0,
            tensors: std::ptr::null(),
            ints: std::ptr::null(),
            text: std::ptr::null(),
        };
        match kind {
            Kind::None(_) => {}
            Kind::Tensor(tensor) => {
                value.kind = 1;
                self.keep_tensors(&mut value, vec![tensor])?;
            }
            Kind::Tensors(tensors) => {
                value.kind = 2;
                self.keep_tensors(&mut value, tensors.tensors)?;
            }
            Kind::Integer(integer) => (value.kind, value.i) = (3, integer),
            Kind::Float(float) => (value.kind, value.d) = (4, float),
            Kind::Boolean(boolean) => (value.kind, value.i) = (5, i64::from(boolean)),
            Kind::Text(text) => {
                let text = CString::new(text).map_err(|_| Failure::runtime("the executor sent a text with a NUL"))?;
                (value.kind, value.len, value.text) = (6, text.as_bytes().len() as u32, text.as_ptr());
                self.texts.push(text);
            }
            Kind::Integers(integers) => {
                (value.kind, value.len) = (7, integers.values.len() as u32);
                value.ints = self.keep_integers(integers.values);
            }
            Kind::Argument(position) => (value.kind, value.i) = (8, i64::from(position)),
            Kind::Complex(complex) => (value.kind, value.d, value.im) = (9, complex.re, complex.im),
        }
        Ok(value)
    }

    fn keep_tensors(&mut self, value: &mut raw::Value, tensors: Vec<v1::TensorValue>) -> Result<(), Failure> {
        let mut kept = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let dtype =
                u8::try_from(tensor.dtype).map_err(|_| Failure::runtime("the executor sent an unknown dtype"))?;
            let meta = self.meta(dtype, tensor.sizes, tensor.strides)?;
            let view = raw::View { storage: tensor.storage, offset: tensor.offset, meta };
            kept.push(raw::ValueTensor {
                undefined: u8::from(tensor.undefined),
                storage_bytes: tensor.storage_bytes,
                view,
            });
        }
        value.len = kept.len() as u32;
        // A Vec's items stay where they are when the Vec moves.
        value.tensors = kept.as_ptr();
        self.tensors.push(kept);
        Ok(())
    }

    fn meta(&mut self, dtype: u8, sizes: Vec<i64>, strides: Vec<i64>) -> Result<raw::Tensor, Failure> {
        if sizes.len() != strides.len() {
            return Err(Failure::runtime("the executor sent sizes and strides of different length"));
        }
        let ndim = sizes.len() as u32;
        Ok(raw::Tensor {
            dtype,
            flags: 0,
            ndim,
            sizes: self.keep_integers(sizes),
            strides: self.keep_integers(strides),
        })
    }

    fn keep_integers(&mut self, integers: Vec<i64>) -> *const i64 {
        let first = integers.as_ptr();
        self.integers.push(integers);
        first
    }

    /// Storages of the tensors in it, and their sizes.
    pub(crate) fn storages(&self) -> impl Iterator<Item = (u64, u64)> {
        let defined = self.tensors.iter().flatten().filter(|tensor| tensor.undefined == 0);
        defined.map(|tensor| (tensor.view.storage, tensor.storage_bytes))
    }

    /// Tensor slots that were resized, and their storages' new sizes.
    pub(crate) fn resized(&self) -> impl Iterator<Item = (u32, u64)> {
        self.resized.iter().map(|resized| (resized.slot, resized.storage_bytes))
    }

    /// Hands it to C++.
    pub(crate) fn into_raw(self: Box<Self>) -> *mut raw::Results {
        Box::into_raw(self).cast()
    }

    /// Takes it back.
    ///
    /// # Safety
    /// `results` came from [`Results::into_raw`] and was not taken back before.
    pub(crate) unsafe fn from_raw(results: *mut raw::Results) -> Box<Self> {
        // SAFETY: `head` is the first field of a repr(C) struct, so the address is that of the whole; the rest is the caller's duty.
        unsafe { Box::from_raw(results.cast()) }
    }
}
