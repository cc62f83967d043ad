//! The outgoing buffer: where an operator becomes bytes, in order, without waiting or allocating.
//!
//! Owns the order of a device's commands, the dictionary of signatures, and the count of live storages. Leaves sending to `conversation`. Invariant: bytes are
//! appended under one lock, whole commands only, and leave in that order.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;
use torch_remote_proto::codec::{MAX_BATCH_BYTES, Places, signature, tag, writer};
use torch_remote_proto::command::{Arg, Output, Signature, TensorMeta};

use crate::failure::Failure;
use crate::raw;

/// A batch is closed when it has grown to this.
const BATCH: usize = 256 << 10;
/// The buffer begins with this much, and keeps what it grew to.
const BUFFER: usize = 512 << 10;

/// State under a device's lock.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) buffer: Vec<u8>,
    ready: VecDeque<Bytes>,
    ready_bytes: u64,
    /// The writer will look at the buffer by itself.
    pub(crate) awake: bool,
    /// The session is over: nothing is taken any more.
    pub(crate) closed: bool,
    /// Callers that wait for room.
    pub(crate) crowded: u32,
    signatures: HashMap<u32, Defined, BuildHasherDefault<IdHasher>>,
    pub(crate) storages: Storages,
    next_request: u64,
    next_transfer: u64,
    /// Operators submitted.
    pub(crate) operators: u64,
}

#[derive(Debug)]
struct Defined {
    places: Places,
    /// Bytes of each new storage.
    fresh: Box<[u64]>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Outgoing {
            buffer: Vec::with_capacity(BUFFER),
            ready: VecDeque::new(),
            ready_bytes: 0,
            awake: false,
            closed: false,
            crowded: 0,
            signatures: HashMap::default(),
            storages: Storages::default(),
            next_request: 1,
            next_transfer: 1,
            operators: 0,
        }
    }
}

impl Outgoing {
    /// Bytes not handed to the writer yet.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.ready_bytes + self.buffer.len() as u64
    }

    /// A number for something that is owed a reply.
    pub(crate) fn request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request - 1
    }

    /// A number for bytes that travel apart.
    pub(crate) fn transfer(&mut self) -> u64 {
        self.next_transfer += 1;
        self.next_transfer - 1
    }

    /// Appends a call.
    ///
    /// # Errors
    /// Nothing is appended: see [`Misfit`].
    #[inline]
    pub(crate) fn call(&mut self, number: u32, call: &Call<'_>) -> Result<(), Misfit> {
        let Some(defined) = self.signatures.get(&number) else { return Err(Misfit::Undefined) };
        let places = defined.places;
        if call.storages.len() != places.tensors as usize
            || call.floats.len() != places.floats as usize
            || call.scalars.len() != places.scalars as usize
        {
            return Err(Misfit::Places);
        }
        let start = self.buffer.len();
        let out = &mut self.buffer;
        out.push(tag::CALL);
        writer::unsigned(out, u64::from(number));
        for (storage, offset) in call.storages.iter().zip(call.offsets) {
            writer::unsigned(out, *storage);
            writer::signed(out, *offset);
        }
        for float in call.floats {
            writer::float(out, *float);
        }
        for scalar in call.scalars {
            out.extend_from_slice(scalar);
        }
        if places.random {
            out.extend_from_slice(&call.seed.to_le_bytes());
            writer::unsigned(out, call.count);
        }
        if places.fresh > 0 {
            writer::unsigned(out, call.first_output);
            for (storage, bytes) in (call.first_output..).zip(defined.fresh.iter()) {
                self.storages.add(storage, *bytes);
            }
        }
        if let Err(too_long) = self.whole(start) {
            for storage in (call.first_output..).take(places.fresh as usize) {
                self.storages.remove(storage);
            }
            return Err(Misfit::TooLong(too_long));
        }
        self.operators += 1;
        self.close_batch(BATCH);
        Ok(())
    }

    /// Appends a definition, unless the number is defined.
    ///
    /// # Errors
    /// [`TooLong`]: nothing is appended.
    pub(crate) fn define(&mut self, number: u32, definition: &Signature) -> Result<(), TooLong> {
        if self.signatures.contains_key(&number) {
            return Ok(());
        }
        let start = self.buffer.len();
        self.buffer.push(tag::DEFINE);
        writer::unsigned(&mut self.buffer, u64::from(number));
        signature::encode(&mut self.buffer, definition);
        self.whole(start)?;
        let mut fresh = Vec::new();
        definition.outputs.iter().for_each(|output| fresh_bytes(output, &mut fresh));
        self.signatures.insert(number, Defined { places: Places::of(definition), fresh: fresh.into() });
        self.close_batch(BATCH);
        Ok(())
    }

    /// The command that begins at `start` is appended whole. What stands before a long one becomes a batch of its own, so that none grows past what the wire
    /// allows.
    ///
    /// # Errors
    /// [`TooLong`]: no batch can hold it, and it is taken out again.
    #[inline]
    pub(crate) fn whole(&mut self, start: usize) -> Result<(), TooLong> {
        if self.buffer.len() <= MAX_BATCH_BYTES {
            return Ok(());
        }
        let length = self.buffer.len() - start;
        if length > MAX_BATCH_BYTES {
            self.buffer.truncate(start);
            return Err(TooLong(length));
        }
        let command = self.buffer.split_off(start);
        self.close_batch(1);
        self.buffer.extend_from_slice(&command);
        Ok(())
    }

    /// Appends a Forget, if the number is defined.
    pub(crate) fn forget(&mut self, number: u32) {
        if self.signatures.remove(&number).is_some() {
            self.integers(tag::FORGET, &[u64::from(number)]);
        }
    }

    /// Appends a Free of a storage that this side never counted; nothing for one it knows.
    pub(crate) fn free_unknown(&mut self, storage: u64) {
        if !self.closed && !self.storages.sizes.contains_key(&storage) {
            self.integers(tag::FREE, &[storage]);
        }
    }

    /// Appends a tag and integers.
    #[inline]
    pub(crate) fn integers(&mut self, tag: u8, integers: &[u64]) {
        self.buffer.push(tag);
        for integer in integers {
            writer::unsigned(&mut self.buffer, *integer);
        }
        self.close_batch(BATCH);
    }

    /// Appends a view.
    pub(crate) fn view(&mut self, view: &raw::View, sizes: &[i64], strides: &[i64]) {
        writer::unsigned(&mut self.buffer, view.storage);
        writer::signed(&mut self.buffer, view.offset);
        writer::meta_parts(&mut self.buffer, (view.meta.dtype, view.meta.flags), sizes, strides);
    }

    /// Closes the batch if it has grown to `limit`. Called between commands only.
    #[inline]
    pub(crate) fn close_batch(&mut self, limit: usize) {
        if self.buffer.len() >= limit {
            let batch = Bytes::copy_from_slice(&self.buffer);
            self.buffer.clear();
            self.ready_bytes += batch.len() as u64;
            self.ready.push_back(batch);
        }
    }

    /// Everything appended so far, as batches.
    pub(crate) fn take(&mut self) -> VecDeque<Bytes> {
        self.close_batch(1);
        self.ready_bytes = 0;
        std::mem::take(&mut self.ready)
    }

    /// The session is over: drops what was not sent.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.buffer = Vec::new();
        self.ready.clear();
        self.ready_bytes = 0;
        self.signatures = HashMap::default();
        self.storages.clear();
    }
}

fn fresh_bytes(output: &Output, into: &mut Vec<u64>) {
    match output {
        Output::Fresh { bytes, .. } => into.push(*bytes),
        Output::List(items) => items.iter().for_each(|item| fresh_bytes(item, into)),
        Output::Alias { .. } | Output::Argument(_) | Output::Undefined => {}
    }
}

/// Why a call is not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Define the signature first.
    Undefined,
    /// The call does not fill the signature's places.
    Places,
    /// No batch can hold it.
    TooLong(TooLong),
}

/// The length of a command that no batch can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong(pub usize);

impl From<TooLong> for Failure {
    fn from(TooLong(length): TooLong) -> Self {
        Failure::runtime(format!(
            "one call takes {length} bytes to send, and {} are the most for a command: it names too many tensors or numbers; \
             make several calls of fewer",
            MAX_BATCH_BYTES
        ))
    }
}

/// What fills a signature's places, borrowed from C++.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub storages: &'a [u64],
    pub offsets: &'a [i64],
    pub floats: &'a [f64],
    pub scalars: &'a [[u8; 16]],
    pub first_output: u64,
    pub seed: u64,
    pub count: u64,
}

/// Live storages and their sizes.
#[derive(Debug, Default)]
pub(crate) struct Storages {
    sizes: HashMap<u64, u64, BuildHasherDefault<IdHasher>>,
    pub(crate) bytes: u64,
    pub(crate) peak: u64,
}

impl Storages {
    pub(crate) fn count(&self) -> u64 {
        self.sizes.len() as u64
    }

    #[inline]
    pub(crate) fn add(&mut self, storage: u64, bytes: u64) {
        let before = self.sizes.insert(storage, bytes).unwrap_or(0);
        self.bytes = self.bytes - before + bytes;
        self.peak = self.peak.max(self.bytes);
    }

    /// Changes a size; nothing for a storage that is not alive.
    pub(crate) fn resize(&mut self, storage: u64, bytes: u64) {
        if self.sizes.contains_key(&storage) {
            self.add(storage, bytes);
        }
    }

    /// False if it is not alive.
    #[inline]
    pub(crate) fn remove(&mut self, storage: u64) -> bool {
        match self.sizes.remove(&storage) {
            Some(bytes) => {
                self.bytes -= bytes;
                true
            }
            None => false,
        }
    }

    fn clear(&mut self) {
        self.sizes = HashMap::default();
        self.bytes = 0;
    }
}

/// Nanoseconds per operator and free, into a buffer that nobody sends.
pub(crate) fn time_calls(calls: u32) -> f64 {
    let meta = || TensorMeta { dtype: 6, flags: 0, sizes: vec![64, 64], strides: vec![64, 1] };
    let definition = Signature {
        name: "aten::add".to_owned(),
        overload: "Tensor".to_owned(),
        args: vec![Arg::Tensor(meta()), Arg::Tensor(meta()), Arg::Int(1)],
        outputs: vec![Output::Fresh { bytes: 16384, meta: meta() }],
        resized: Vec::new(),
        random: false,
        default_dtype: 6,
        written: Vec::new(),
    };
    let outgoing = std::sync::Mutex::new(Outgoing::default());
    let lock = || outgoing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    lock().define(1, &definition).expect("two tensors are no long definition");
    let start = std::time::Instant::now();
    for number in 0..u64::from(calls) {
        let first_output = 1000 + number;
        let storages = [first_output - 2, first_output - 1];
        let call =
            Call { storages: &storages, offsets: &[0, 0], floats: &[], scalars: &[], first_output, seed: 0, count: 0 };
        let mut outgoing = lock();
        assert_eq!(outgoing.call(1, &call), Ok(()), "the signature was defined above");
        drop(outgoing);
        let mut outgoing = lock();
        if outgoing.storages.remove(first_output) {
            outgoing.integers(tag::FREE, &[first_output]);
        }
        if outgoing.waiting_bytes() > 1 << 20 {
            outgoing.take();
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls.max(1))
}

/// Ids count up: mixing them is enough.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}
