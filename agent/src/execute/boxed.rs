//! `csrc/boxed.h` for Rust: storages, prepared signatures, and calls of the dispatcher.
//!
//! Owns every crossing into C++ and the lifetimes of what comes back. Invariants: a [`Storage`] holds one reference; calls that run kernels are made from the
//! executor's thread only (the types that make them are not `Send`, save [`Storage`], which may be released anywhere).

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use torch_remote_proto::codec::Places;
use torch_remote_proto::command::{Arg, Output, Signature, TensorMeta, View};
use torch_remote_proto::v1::{ErrorClass, ResizedArgument, TensorValue, TensorValues, Value, value};

mod raw;

/// What an operator or a storage refused: the class PyTorch would raise, and its text.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// An exception of PyTorch.
    #[error("{message}")]
    Torch {
        /// What to raise at the client.
        class: ErrorClass,
        /// Without backtrace.
        message: String,
    },
    /// The device is lost: the process must end.
    #[error("{0}")]
    Fatal(String),
}

/// Proof that torch is ready; made once.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    cuda: bool,
}

/// Bytes on the device, one reference. Transparent: a run fills places for storages with their pointers.
#[derive(Debug)]
#[repr(transparent)]
pub struct Storage(NonNull<raw::Storage>);

// SAFETY: a StorageImpl's reference count is atomic, and its deleter may run on any thread; nothing else is done with it off the executor's thread,
// save reading bytes that the executor keeps still (see `transfer`).
unsafe impl Send for Storage {}
// SAFETY: as above; shared access reads the size and the address only.
unsafe impl Sync for Storage {}

/// How a tensor slot is used.
pub use raw::Slot;

/// An operator with all that repeats about its calls.
#[derive(Debug)]
pub struct Prepared {
    pointer: NonNull<raw::Signature>,
    slots: Vec<Slot>,
    fresh: usize,
    of_this_thread: PhantomData<*mut ()>,
}

/// What fills a prepared signature's places.
#[derive(Debug, Clone, Copy)]
pub struct Filling<'a> {
    /// One per tensor slot.
    pub storages: &'a [*mut c_void],
    /// One per tensor slot, in elements.
    pub offsets: &'a [i64],
    /// In order.
    pub floats: &'a [f64],
    /// 16 bytes each.
    pub scalars: &'a [[u8; 16]],
    /// For random signatures.
    pub seed: u64,
}

/// A view's measures against its storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Of a contiguous copy.
    pub bytes: u64,
    /// Lies in its storage row-major, without gaps, and without a lazy conjugation.
    pub contiguous: bool,
    /// Bytes of storage covered without a gap at offset 0, or -1.
    pub covers: i64,
}

/// Results of an operator whose shapes depend on values.
#[derive(Debug)]
pub struct NowResults {
    /// New storages, by number; `storage` of a new tensor in `values` is such a number until the caller gives ids.
    pub fresh: Vec<Storage>,
    /// One per return.
    pub values: Vec<NowValue>,
    /// Arguments whose shape changed.
    pub resized: Vec<ResizedArgument>,
}

/// A result whose tensors are not named yet.
#[derive(Debug)]
pub enum NowValue {
    /// A tensor.
    Tensor(NowTensor),
    /// Tensors.
    Tensors(Vec<NowTensor>),
    /// All else, ready to send.
    Plain(value::Kind),
}

/// A tensor that is not named yet.
#[derive(Debug)]
pub struct NowTensor {
    /// Where its bytes are.
    pub origin: Origin,
    /// `storage` is not set.
    pub value: TensorValue,
}

/// Whose storage a result lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// There is no tensor.
    Undefined,
    /// That of a tensor slot.
    Slot(u32),
    /// A new one, by number.
    Fresh(u32),
}

type Result<T> = std::result::Result<T, Error>;

impl Device {
    /// Loads and warms up torch: `threads` intra-op threads, 0 = torch's choice. The first thing a process does with torch.
    ///
    /// # Errors
    /// The device is missing or gives wrong sums.
    pub fn begin(cuda: bool, threads: u32) -> Result<Device> {
        let threads = c_int::try_from(threads).unwrap_or(c_int::MAX);
        // SAFETY: called before anything else touches torch, as boxed.h asks.
        check(unsafe { raw::trb_begin(c_int::from(cuda), threads) })?;
        Ok(Device { cuda })
    }

    /// To be called by the executor's thread before it runs anything.
    pub fn enter_thread(self) {
        // SAFETY: no arguments; sets a thread-local guard.
        unsafe { raw::trb_thread_begin() }
    }

    /// Limits the host memory that tensors and kernels' temporaries take together; 0 = no limit. Bytes.
    pub fn limit(self, bytes: u64) {
        // SAFETY: stores an atomic.
        unsafe { raw::trb_limit(bytes) }
    }

    /// Host memory that tensors and temporaries take now. Bytes.
    pub fn allocated(self) -> u64 {
        // SAFETY: reads an atomic.
        unsafe { raw::trb_allocated() }
    }

    /// Waits until all work is done.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the device is lost.
    pub fn synchronize(self) -> Result<()> {
        // SAFETY: no arguments.
        check(unsafe { raw::trb_synchronize() })
    }

    /// Total and unused device memory in bytes; zeros on CPU.
    pub fn memory(self) -> (u64, u64) {
        let (mut total, mut unused) = (0, 0);
        // SAFETY: both point to writable u64s.
        unsafe { raw::trb_device_memory(&mut total, &mut unused) };
        (total, unused)
    }

    /// Device memory that tensors take now. Bytes.
    pub fn memory_used(self) -> u64 {
        match self.memory() {
            (0, _) => self.allocated(),
            (total, unused) => total - unused,
        }
    }

    /// `cpu` or `cuda`.
    pub fn name(self) -> &'static str {
        if self.cuda { "cuda" } else { "cpu" }
    }
}

/// Version of torch this was built with; the library loaded is of the same minor.
pub fn torch_version() -> &'static str {
    // SAFETY: a constant, NUL-terminated and ASCII.
    unsafe { CStr::from_ptr(raw::trb_torch_version()) }.to_str().unwrap_or_default()
}

impl Storage {
    /// Uninitialised bytes.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(bytes: u64) -> Result<Storage> {
        let mut out = std::ptr::null_mut();
        // SAFETY: `out` is writable; on success it holds a reference that is ours.
        check(unsafe { raw::trb_storage_new(bytes, &mut out) })?;
        Ok(Storage(NonNull::new(out).expect("trb_storage_new sets its result on success")))
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        // SAFETY: the pointer is alive as long as self.
        unsafe { raw::trb_storage_bytes(self.0.as_ptr()) }
    }

    /// Changes the size, keeping the common prefix.
    ///
    /// # Errors
    /// Out of memory.
    pub fn resize(&self, bytes: u64) -> Result<()> {
        // SAFETY: alive; called on the executor's thread.
        check(unsafe { raw::trb_storage_resize(self.0.as_ptr(), bytes) })
    }

    /// For [`Filling::storages`]; valid as long as self.
    pub fn pointer(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    /// Writes contiguous bytes into a view.
    ///
    /// # Errors
    /// The view does not lie inside, or the bytes are not as many as it takes.
    pub fn write(&self, view: &View, data: &[u8]) -> Result<()> {
        let meta = raw::Meta::of(&view.meta);
        // SAFETY: meta borrows from view, data is `data.len()` readable bytes.
        check(unsafe { raw::trb_write(self.0.as_ptr(), view.offset, &meta, data.as_ptr(), data.len() as u64) })
    }

    /// Reads a view as contiguous bytes.
    ///
    /// # Errors
    /// The view does not lie inside.
    pub fn read(&self, view: &View) -> Result<Vec<u8>> {
        let bytes = self.measure(view)?.bytes;
        let mut data: Vec<u8> = Vec::new();
        let room = usize::try_from(bytes).map(|room| data.try_reserve_exact(room));
        if !matches!(room, Ok(Ok(()))) {
            let message = format!("out of memory on the executor's host: {bytes} bytes are to be read");
            return Err(Error::Torch { class: ErrorClass::OutOfMemoryError, message });
        }
        let meta = raw::Meta::of(&view.meta);
        // SAFETY: `data` has room for `bytes` bytes, all of which trb_read writes when it succeeds.
        unsafe {
            check(raw::trb_read(self.0.as_ptr(), view.offset, &meta, data.as_mut_ptr(), bytes))?;
            data.set_len(bytes as usize);
        }
        Ok(data)
    }

    /// Measures a view.
    ///
    /// # Errors
    /// It makes no tensor, or does not lie inside.
    pub fn measure(&self, view: &View) -> Result<Measure> {
        let meta = raw::Meta::of(&view.meta);
        let (mut bytes, mut contiguous, mut covers) = (0, 0, 0);
        // SAFETY: meta borrows from view; the rest are writable.
        check(unsafe {
            raw::trb_measure(self.0.as_ptr(), view.offset, &meta, &mut bytes, &mut contiguous, &mut covers)
        })?;
        Ok(Measure { bytes, contiguous: contiguous != 0, covers })
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // SAFETY: releases the one reference self holds.
        unsafe { raw::trb_storage_release(self.0.as_ptr()) }
    }
}

impl Prepared {
    /// Checks a signature against the operator's schema. `now`: for [`Prepared::run_now`].
    ///
    /// # Errors
    /// No such operator, or its arguments or returns are others.
    pub fn new(signature: &Signature, now: bool) -> Result<Prepared> {
        let places = Places::of(signature);
        let description = raw::Owned::of(signature)?;
        let mut out = std::ptr::null_mut();
        // SAFETY: `description` owns all that its view points to, and lives until after the call.
        check(unsafe { raw::trb_prepare(&description.view(now, places.random), &mut out) })?;
        let pointer = NonNull::new(out).expect("trb_prepare sets its result on success");
        let mut slots = std::ptr::null();
        // SAFETY: `pointer` is alive; the array lives as long as it and is copied here.
        let slots = unsafe {
            let count = raw::trb_signature_slots(pointer.as_ptr(), &mut slots);
            if count == 0 { Vec::new() } else { std::slice::from_raw_parts(slots, count as usize).to_vec() }
        };
        Ok(Prepared { pointer, slots, fresh: places.fresh as usize, of_this_thread: PhantomData })
    }

    /// How each tensor slot is used.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Runs it; the new storages are appended to `fresh`.
    ///
    /// # Errors
    /// The kernel's own, or a result that differs from what the client assumed.
    ///
    /// # Panics
    /// If `places` has fewer storages or offsets than there are slots.
    pub fn run(&self, places: Filling<'_>, fresh: &mut Vec<Storage>) -> Result<()> {
        let call = self.call(places);
        let start = fresh.len();
        fresh.reserve(self.fresh);
        let room = fresh.spare_capacity_mut().as_mut_ptr().cast::<*mut raw::Storage>();
        // SAFETY: `call` borrows from `places`, whose storages the caller keeps alive; `room` has space for all fresh storages, which trb_run sets on success to
        // references that are ours. Storage is a transparent non-null pointer.
        unsafe {
            check(raw::trb_run(self.pointer.as_ptr(), &call, room))?;
            fresh.set_len(start + self.fresh);
        }
        Ok(())
    }

    /// Runs an operator whose result shapes depend on values.
    ///
    /// # Errors
    /// The kernel's own, or a result that does not travel.
    pub fn run_now(&self, places: Filling<'_>) -> Result<NowResults> {
        let call = self.call(places);
        let mut now = std::ptr::null_mut();
        let mut view = raw::NowView::default();
        // SAFETY: as in `run`; on success `view` points into `now`, which is freed only after it was copied, and the storages in it are ours.
        unsafe {
            check(raw::trb_run_now(self.pointer.as_ptr(), &call, &mut now, &mut view))?;
            let results = view.take();
            raw::trb_now_free(now);
            Ok(results)
        }
    }

    fn call(&self, places: Filling<'_>) -> raw::Call {
        assert!(
            places.storages.len() == self.slots.len() && places.offsets.len() == self.slots.len(),
            "a call fills each tensor slot"
        );
        raw::Call {
            storages: places.storages.as_ptr().cast(),
            offsets: places.offsets.as_ptr(),
            floats: places.floats.as_ptr(),
            scalars: places.scalars.as_ptr().cast(),
            seed: places.seed,
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // SAFETY: made by trb_prepare, freed once.
        unsafe { raw::trb_signature_free(self.pointer.as_ptr()) }
    }
}

fn check(status: c_int) -> Result<()> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: the text is NUL-terminated and lives until this thread's next call.
    let message = unsafe { CStr::from_ptr(raw::trb_error_message()) }.to_string_lossy().into_owned();
    if status == raw::FATAL {
        return Err(Error::Fatal(message));
    }
    Err(Error::Torch { class: ErrorClass::try_from(status).unwrap_or(ErrorClass::RuntimeError), message })
}
