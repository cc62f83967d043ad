//! Runs a session's commands, one at a time, in order, on one thread.
//!
//! Owns the meaning of commands and of failure (`proto/README.md`, "Commands" and "Failure"). Leaves bytes on the wire to the codec, who may speak to the
//! protocol machine, and kernels to `boxed`. Invariants: a command that reads a poisoned storage does not run; whatever a failed command would have written is
//! poisoned; a client's mistake ends its session and nothing else.

use std::collections::{HashMap, VecDeque};
use std::ffi::c_void;
use std::hash::BuildHasherDefault;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use torch_remote_agent::clock;
use torch_remote_proto::codec::{Decoded, Decoder, Reader};
use torch_remote_proto::command::{
    CallArgs, Command, Output, RequestId, STORAGE_IDS, Signature, SignatureId, StorageId, TransferId, View,
};
use torch_remote_proto::v1::{self, ErrorClass, reply};
use torch_remote_proto::violation::Violation;

use crate::boxed::{self, Device, Filling, Prepared, Slot, Storage};
use crate::storage::{Content, Failure, IdHasher, Made, Table};
use crate::transfer::{Superseded, Transfers};

mod memory;
mod now;
mod prepare;
#[cfg(test)]
mod tests;

use prepare::Ready;

/// Where answers go.
pub trait Outlet {
    /// Answers a request.
    fn reply(&mut self, request: RequestId, result: reply::Result);
}

/// Why the rest of a batch is not run.
#[derive(Debug)]
pub enum Stop {
    /// The client broke the protocol: the lease ends.
    Violation(Violation),
    /// The device is lost: the process ends.
    Fatal(String),
    /// Another process holds the session now.
    Superseded,
}

/// What a session may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sum of storages, bytes; 0 = no limit.
    pub memory_bytes: u64,
    /// Longest reply to a Read, bytes.
    pub inline_read_bytes: u64,
}

/// The interpreter of one incarnation's commands.
#[derive(Debug)]
pub struct Executor<O> {
    device: Device,
    limits: Limits,
    transfers: Arc<Transfers>,
    outlet: O,
    incarnation: u32,
    table: Table,
    signatures: HashMap<u64, Rc<Ready>, BuildHasherDefault<IdHasher>>,
    decoder: Decoder,
    /// Failures that no reply may have carried yet, the oldest first.
    unreported: VecDeque<Rc<Failure>>,
    commands: u64,
    operators: u64,
    now: Duration,
    room: Room,
}

/// Vectors reused by each call.
#[derive(Debug, Default)]
struct Room {
    args: CallArgs,
    pointers: Vec<*mut c_void>,
    offsets: Vec<i64>,
    fresh: Vec<Storage>,
}

/// Failures remembered for Sync. Those beyond still surface at reads.
const UNREPORTED: usize = 1024;

impl<O: Outlet> Executor<O> {
    /// For a device, with an empty table.
    pub fn new(device: Device, limits: Limits, transfers: Arc<Transfers>, outlet: O) -> Self {
        Executor {
            device,
            limits,
            transfers,
            outlet,
            incarnation: 0,
            table: Table::default(),
            signatures: HashMap::default(),
            decoder: Decoder::new(),
            unreported: VecDeque::new(),
            commands: 0,
            operators: 0,
            now: clock::boot(),
            room: Room::default(),
        }
    }

    /// Drops all storages and signatures; what follows is of this incarnation.
    pub fn begin(&mut self, incarnation: u32) {
        self.incarnation = incarnation;
        self.table.clear();
        self.signatures.clear();
        self.decoder = Decoder::new();
        self.unreported.clear();
        self.commands = 0;
    }

    /// Storages of the session.
    pub fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Operators run since the start.
    pub fn operators(&self) -> u64 {
        self.operators
    }

    /// Where answers go.
    pub fn outlet(&mut self) -> &mut O {
        &mut self.outlet
    }

    /// Runs a batch.
    ///
    /// # Errors
    /// [`Stop`]: the session or the process is to end.
    pub fn run(&mut self, commands: &Bytes) -> Result<(), Stop> {
        self.now = clock::boot();
        let mut reader = Reader::new(commands);
        let mut room = std::mem::take(&mut self.room);
        let result = loop {
            let decoded = match self.decoder.next(&mut reader, &mut room.args) {
                Ok(Some(decoded)) => decoded,
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(Stop::Violation(malformed.into())),
            };
            self.commands += 1;
            let result = match decoded {
                Decoded::Call(signature) => self.call(signature, &mut room),
                Decoded::Other(command) => self.other(command),
            };
            if result.is_err() {
                break result;
            }
        };
        self.room = room;
        result
    }

    fn call(&mut self, number: SignatureId, room: &mut Room) -> Result<(), Stop> {
        let ready = Rc::clone(
            self.signatures.get(&u64::from(number.0)).expect("the decoder lets only defined signatures pass"),
        );
        let first = room.args.first_output.map_or(0, |id| id.0);
        self.new_ids(first, ready.fresh.len())?;
        let poison = gather(&mut self.table, &ready.slots, self.limits.memory_bytes, room)?;
        let outcome = match (poison, &ready.prepared) {
            (Some(poison), _) => Err(poison),
            (None, Err(error)) => Err(self.failed(&ready.operator, error.clone())?),
            (None, Ok(prepared)) => {
                self.operators += 1;
                let mut fresh = std::mem::take(&mut room.fresh);
                let ran = self.room_for(ready.fresh_bytes).and_then(|()| prepared.run(filling(room), &mut fresh));
                room.fresh = fresh;
                match ran {
                    Ok(()) => Ok(()),
                    Err(error) => Err(self.failed(&ready.operator, error)?),
                }
            }
        };
        match outcome {
            Ok(()) => {
                for (made, (id, storage)) in ready.fresh.iter().zip((first..).zip(room.fresh.drain(..))) {
                    let bytes = storage.bytes();
                    self.table.insert(id, Content::Held(storage), bytes, Rc::clone(&made.made), self.now);
                }
                if ready.writes {
                    written(&mut self.table, &ready.slots, &room.args.views);
                }
            }
            Err(failure) => {
                for (made, id) in ready.fresh.iter().zip(first..) {
                    self.table.insert(
                        id,
                        Content::Missing(Rc::clone(&failure)),
                        made.bytes,
                        Rc::clone(&made.made),
                        self.now,
                    );
                }
                spoil(&mut self.table, &ready.spoils, &room.args.views, &failure);
            }
        }
        Ok(())
    }

    fn other(&mut self, command: Command) -> Result<(), Stop> {
        match command {
            Command::Call { .. } => unreachable!("the decoder hands calls over by their number"),
            Command::Free(storage) => match self.table.remove(storage) {
                true => Ok(()),
                false => Err(unknown(storage)),
            },
            Command::Create { storage, bytes } => self.create(storage, bytes),
            Command::Resize { storage, bytes } => self.resize(storage, bytes),
            Command::Define(number, signature) => {
                let ready = Ready::new(&signature, false)?;
                self.signatures.insert(u64::from(number.0), Rc::new(ready));
                Ok(())
            }
            Command::Forget(number) => {
                self.signatures.remove(&u64::from(number.0));
                Ok(())
            }
            Command::Write { view, data } => self.write(&view, &data),
            Command::WriteBulk { transfer, view, bytes } => self.write_bulk(transfer, &view, bytes),
            Command::Read { request, view } => self.read(request, &view),
            Command::ReadBulk { request, transfer, view, bytes } => self.read_bulk(request, transfer, &view, bytes),
            Command::CallNow { request, signature, args } => self.call_now(request, &signature, args),
            Command::Sync(request) => self.sync(request),
            Command::Mark(request) => {
                self.synchronize()?;
                self.outlet.reply(request, done());
                Ok(())
            }
            Command::Label { storage, name } => {
                let entry = self.table.get_mut(storage).ok_or_else(|| unknown(storage))?;
                let made = Made { label: name, dtype: entry.made().dtype, sizes: entry.made().sizes.clone() };
                entry.label(Rc::new(made));
                Ok(())
            }
        }
    }

    /// Checks that so many ids from `first` on may be used and are not.
    fn new_ids(&self, first: u64, count: usize) -> Result<(), Stop> {
        let end = first.checked_add(count as u64).filter(|end| *end <= STORAGE_IDS);
        let end = end.ok_or(Stop::Violation(Violation::StorageRange(first)))?;
        match (first..end).find(|id| self.table.contains(*id)) {
            Some(id) => Err(Stop::Violation(Violation::StorageTwice(id))),
            None => Ok(()),
        }
    }

    fn sync(&mut self, request: RequestId) -> Result<(), Stop> {
        self.synchronize()?;
        let first = loop {
            match self.unreported.pop_front() {
                Some(failure) if failure.reported.get() => {}
                other => break other,
            }
        };
        self.outlet.reply(request, first.map_or_else(done, |failure| reply::Result::Failure(failure.report())));
        Ok(())
    }

    fn synchronize(&self) -> Result<(), Stop> {
        self.device.synchronize().map_err(|error| Stop::Fatal(error.to_string()))
    }

    /// Turns an error into this command's failure, remembered for Sync.
    fn failed(&mut self, operator: &str, error: boxed::Error) -> Result<Rc<Failure>, Stop> {
        match error {
            boxed::Error::Fatal(message) => Err(Stop::Fatal(message)),
            boxed::Error::Torch { class, message } => {
                let failure = Failure::new(v1::Failure {
                    class: class.into(),
                    operator: operator.to_owned(),
                    message,
                    command: self.commands,
                });
                // Those a read has carried need not be remembered.
                while self.unreported.front().is_some_and(|failure| failure.reported.get()) {
                    self.unreported.pop_front();
                }
                if self.unreported.len() < UNREPORTED {
                    self.unreported.push_back(Rc::clone(&failure));
                }
                Ok(failure)
            }
        }
    }
}

/// Fills `room` with the slots' memory; returns the first poison that keeps the command from running.
fn gather(table: &mut Table, slots: &[Slot], limit: u64, room: &mut Room) -> Result<Option<Rc<Failure>>, Stop> {
    room.pointers.clear();
    room.offsets.clear();
    let mut poison = None;
    for (slot, (id, offset)) in slots.iter().zip(&room.args.views) {
        let entry = table.get(*id).ok_or_else(|| unknown(*id))?;
        room.offsets.push(*offset);
        let failure = match &entry.content {
            Content::Held(storage) => {
                room.pointers.push(storage.pointer());
                continue;
            }
            Content::Spoiled(_, failure) | Content::Missing(failure) => Rc::clone(failure),
        };
        let overwritten = slot.writes != 0 && slot.reads == 0 && entry.covered_by(slot.covers, *offset);
        // Without room for memory the old failure stands.
        let memory = if overwritten { table.memory(*id, limit).ok().flatten() } else { None };
        room.pointers.push(memory.map_or(std::ptr::null_mut(), Storage::pointer));
        if memory.is_none() {
            poison.get_or_insert(failure);
        }
    }
    Ok(poison)
}

/// After success: what was wholly overwritten holds values again, and what was resized has its new size.
fn written(table: &mut Table, slots: &[Slot], views: &[(StorageId, i64)]) {
    for (slot, (id, offset)) in slots.iter().zip(views).filter(|(slot, _)| slot.writes != 0) {
        let entry = table.get_mut(*id).expect("gathered before");
        if slot.reads == 0 && entry.covered_by(slot.covers, *offset) {
            entry.clear();
        }
        if let Content::Held(storage) | Content::Spoiled(storage, _) = &entry.content {
            let bytes = storage.bytes();
            if bytes != entry.bytes {
                table.resized(*id, bytes);
            }
        }
    }
}

/// After failure: nothing that would have been written or returned can be trusted. A kernel may have grown what it was to write before it failed.
fn spoil(table: &mut Table, slots: &[usize], views: &[(StorageId, i64)], failure: &Rc<Failure>) {
    for (id, _) in slots.iter().map(|slot| views[*slot]) {
        let Some(entry) = table.get_mut(id) else { continue };
        entry.spoil(failure);
        let held = entry.content.storage().map_or(entry.bytes, Storage::bytes);
        if held != entry.bytes {
            table.resized(id, held);
        }
    }
}

fn filling(room: &Room) -> Filling<'_> {
    Filling {
        storages: &room.pointers,
        offsets: &room.offsets,
        floats: &room.args.floats,
        scalars: &room.args.scalars,
        seed: room.args.random.map_or(0, |(seed, count)| mix64(seed, count)),
    }
}

/// The seed of the `count`-th random operator under `seed`: splitmix64's output function over a stream that `seed` starts.
fn mix64(seed: u64, count: u64) -> u64 {
    let mut z = seed.wrapping_add(count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn unknown(storage: StorageId) -> Stop {
    Stop::Violation(Violation::UnknownStorage(storage.0))
}

fn refused(class: ErrorClass, message: String) -> boxed::Error {
    boxed::Error::Torch { class, message }
}

fn done() -> reply::Result {
    reply::Result::Done(v1::Done { executor_ns: clock::monotonic_ns() })
}

fn full_name(signature: &Signature) -> String {
    if signature.overload.is_empty() {
        signature.name.clone()
    } else {
        format!("{}.{}", signature.name, signature.overload)
    }
}

fn fresh_of(outputs: &[Output], mut each: impl FnMut(u64, &torch_remote_proto::command::TensorMeta)) {
    fn walk(outputs: &[Output], each: &mut dyn FnMut(u64, &torch_remote_proto::command::TensorMeta)) {
        for output in outputs {
            match output {
                Output::Fresh { bytes, meta } => each(*bytes, meta),
                Output::List(items) => walk(items, each),
                Output::Alias { .. } | Output::Argument(_) | Output::Undefined => {}
            }
        }
    }
    walk(outputs, &mut each);
}
