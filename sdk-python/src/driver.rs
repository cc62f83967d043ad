//! The functions of `driver.h`: where C++ enters.
//!
//! Owns the crossing: pointers become slices, failures become statuses, panics stop here. Leaves everything else to `devices`, `session` and `bulk`.
//!
//! SAFETY of all functions: pointers are valid for the counts beside them for the time of the call, as driver.h says; every function checks nothing more than
//! that a NULL comes with a count of 0.

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use torch_remote_proto::codec::{MAX_LABEL, signature as wire, tag, writer};
use torch_remote_proto::v1::reply;

use crate::bulk::{COPIED, Lent};
use crate::devices::{self, open_session};
use crate::failure::{self, Failure};
use crate::marks::Mark;
use crate::results::Results;
use crate::session::{Order, Session};
use crate::signature;
use crate::submit::{Call, Misfit};
use crate::{ids, raw, runtime};

/// Runs a call; its failure becomes the thread's last error.
fn guard(call: impl FnOnce() -> Result<i32, Failure>) -> i32 {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(status)) => status,
        Ok(Err(failure)) => {
            failure::remember(failure);
            raw::ERROR
        }
        Err(_) => {
            failure::remember(Failure::runtime(
                "torch-remote's driver panicked: please report it with the lines printed above",
            ));
            raw::ERROR
        }
    }
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_last_error() -> raw::Error {
    failure::last()
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_device_count() -> i32 {
    devices::count() as i32
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_device_check(device: i32) -> i32 {
    guard(|| open_session(device).map(|_| raw::OK))
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_device_kind(device: i32) -> i32 {
    devices::session(device).and_then(|session| session.limits.get()).map_or(-1, |limits| limits.kind)
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_storage_alive(device: i32, id: u64) -> c_int {
    c_int::from(devices::session(device).is_some_and(|session| session.open() && session.owns(id)))
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_storage_ids(count: u32) -> u64 {
    ids::fresh(u64::from(count))
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_create(device: i32, id: u64, bytes: u64) -> i32 {
    guard(|| {
        let session = open_session(device)?;
        let mut outgoing = session.room()?;
        outgoing.storages.add(id, bytes);
        outgoing.integers(tag::CREATE, &[id, bytes]);
        session.appended(outgoing, false);
        Ok(raw::OK)
    })
}

/// SAFETY of the caller: none. Never waits: deleters run under arbitrary locks.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_free(device: i32, id: u64) {
    guard(|| {
        if runtime::forked() {
            return Ok(raw::OK);
        }
        let Some(session) = devices::session(device).filter(|session| session.open()) else { return Ok(raw::OK) };
        let mut outgoing = session.lock();
        // Of an earlier session, or never made: nothing to say.
        if !outgoing.closed && outgoing.storages.remove(id) {
            outgoing.integers(tag::FREE, &[id]);
            session.appended(outgoing, false);
        }
        Ok(raw::OK)
    });
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_resize(device: i32, id: u64, bytes: u64) -> i32 {
    guard(|| {
        let session = owner(device, id)?;
        let mut outgoing = session.room()?;
        outgoing.storages.resize(id, bytes);
        outgoing.integers(tag::RESIZE, &[id, bytes]);
        session.appended(outgoing, false);
        Ok(raw::OK)
    })
}

/// SAFETY of the caller: `name` ends with NUL.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_label(device: i32, id: u64, name: *const c_char) -> i32 {
    guard(|| {
        let session = owner(device, id)?;
        // SAFETY: the caller's duty.
        let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| Failure::value("a label must be UTF-8"))?;
        if name.len() > MAX_LABEL {
            return Err(Failure::value(format!("a label has at most {MAX_LABEL} bytes, this one {}", name.len())));
        }
        let mut outgoing = session.room()?;
        outgoing.buffer.push(tag::LABEL);
        writer::unsigned(&mut outgoing.buffer, id);
        writer::bytes(&mut outgoing.buffer, name.as_bytes());
        session.appended(outgoing, false);
        Ok(raw::OK)
    })
}

/// SAFETY of the caller: `signature` and all it points to.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_define(device: i32, sig: u32, signature: *const raw::Signature) -> i32 {
    guard(|| {
        let session = open_session(device)?;
        // SAFETY: the caller's duty.
        let definition = unsafe { signature::signature(&*signature) }?;
        let mut outgoing = session.room()?;
        outgoing.define(sig, &definition);
        session.appended(outgoing, false);
        Ok(raw::OK)
    })
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_forget(sig: u32) {
    guard(|| {
        if !runtime::forked() {
            for session in (0..devices::DEVICES as i32).filter_map(devices::session).filter(|session| session.open()) {
                let mut outgoing = session.lock();
                outgoing.forget(sig);
                session.appended(outgoing, false);
            }
        }
        Ok(raw::OK)
    });
}

/// SAFETY of the caller: `args` and all it points to.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_call(device: i32, sig: u32, args: *const raw::CallArgs) -> i32 {
    guard(|| {
        let session = open_session(device)?;
        // SAFETY: the caller's duty.
        let args = unsafe { &*args };
        // SAFETY: the caller's duty.
        let call = unsafe {
            Call {
                storages: raw::slice(args.storages, args.nviews),
                offsets: raw::slice(args.offsets, args.nviews),
                floats: raw::slice(args.floats, args.nfloats),
                scalars: raw::slice(args.scalars.cast(), args.nscalars / 2),
                first_output: args.first_output,
                seed: args.seed,
                count: args.count,
            }
        };
        if !call.storages.iter().all(|storage| session.owns(*storage)) {
            return Err(Failure::of_earlier_session(device));
        }
        let mut outgoing = session.room()?;
        match outgoing.call(sig, &call) {
            Ok(()) => {
                session.appended(outgoing, false);
                Ok(raw::OK)
            }
            Err(Misfit::Undefined) => Ok(raw::UNDEFINED_SIGNATURE),
            Err(Misfit::Places) => Err(Failure::runtime(format!("a call does not fill the places of signature {sig}"))),
        }
    })
}

/// SAFETY of the caller: all pointers, and `results` to write to.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_call_now(
    device: i32,
    signature: *const raw::Signature,
    args: *const raw::CallArgs,
    results: *mut *mut raw::Results,
) -> i32 {
    guard(|| {
        let session = open_session(device)?;
        // SAFETY: the caller's duty.
        let (definition, args) = unsafe { (signature::signature(&*signature)?, &*args) };
        let places = wire::Places::of(&definition);
        // SAFETY: the caller's duty.
        let call = unsafe { signature::call(args, places.random) };
        if call.views.len() != places.tensors as usize
            || call.floats.len() != places.floats as usize
            || call.scalars.len() != places.scalars as usize
        {
            return Err(Failure::runtime(format!("a call does not fill the places of {}", definition.name)));
        }
        if !call.views.iter().all(|(storage, _)| session.owns(storage.0)) {
            return Err(Failure::of_earlier_session(device));
        }
        let answer = session.ask(|outgoing, request| {
            outgoing.buffer.push(tag::CALL_NOW);
            writer::unsigned(&mut outgoing.buffer, request);
            wire::encode(&mut outgoing.buffer, &definition);
            torch_remote_proto::codec::encode_args(&mut outgoing.buffer, &call);
            outgoing.operators += 1;
        })?;
        let reply::Result::Results(found) = answer else { return Err(unexpected("CallNow")) };
        let found = Results::new(found)?;
        {
            let mut outgoing = session.lock();
            for (storage, bytes) in found.storages() {
                if storage >= args.first_output && storage < args.first_output + torch_remote_proto::command::NOW_IDS {
                    outgoing.storages.add(storage, bytes);
                }
            }
            for (slot, bytes) in found.resized() {
                if let Some((storage, _)) = call.views.get(slot as usize) {
                    outgoing.storages.resize(storage.0, bytes);
                }
            }
        }
        // SAFETY: the caller's duty.
        unsafe { *results = found.into_raw() };
        Ok(raw::OK)
    })
}

/// SAFETY of the caller: `results` came from tr_call_now and is freed once, or is NULL.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_results_free(results: *mut raw::Results) {
    if !results.is_null() {
        // SAFETY: the caller's duty.
        drop(unsafe { Results::from_raw(results) });
    }
}

/// SAFETY of the caller: `bytes` bytes at `data`, and the view's arrays.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_write(
    device: i32,
    destination: *const raw::View,
    data: *const u8,
    bytes: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's duty.
        let destination = unsafe { &*destination };
        let session = owner(device, destination.storage)?;
        if bytes == 0 {
            return Ok(raw::OK);
        }
        if bytes <= session.limits()?.inline_write_bytes {
            // SAFETY: the caller's duty.
            let data = unsafe { std::slice::from_raw_parts(data, bytes as usize) };
            let mut outgoing = session.room()?;
            outgoing.buffer.push(tag::WRITE);
            append_view(&mut outgoing, destination);
            writer::bytes(&mut outgoing.buffer, data);
            outgoing.close_batch(256 << 10);
            session.appended(outgoing, false);
            return Ok(raw::OK);
        }
        if bytes <= COPIED {
            session.bulk.room(session, bytes)?;
            let transfer = write_bulk(session, destination, bytes)?;
            // SAFETY: the caller's duty.
            session.bulk.send(session, transfer, unsafe { std::slice::from_raw_parts(data, bytes as usize) });
            return Ok(raw::OK);
        }
        // SAFETY: the caller keeps the memory until this call returns, and `send_lent` takes it back before.
        let lent = Arc::new(unsafe { Lent::to_read(data, bytes) });
        let transfer = write_bulk(session, destination, bytes)?;
        session.bulk.send_lent(session, transfer, &lent)?;
        Ok(raw::OK)
    })
}

fn write_bulk(session: &'static Session, destination: &raw::View, bytes: u64) -> Result<u64, Failure> {
    let mut outgoing = session.room()?;
    let transfer = outgoing.transfer();
    outgoing.buffer.push(tag::WRITE_BULK);
    writer::unsigned(&mut outgoing.buffer, transfer);
    append_view(&mut outgoing, destination);
    writer::unsigned(&mut outgoing.buffer, bytes);
    // Urgent: the upload would wait for its command.
    session.appended(outgoing, true);
    Ok(transfer)
}

/// SAFETY of the caller: room for `bytes` bytes at `data`, and the view's arrays.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_read(device: i32, source: *const raw::View, data: *mut u8, bytes: u64) -> i32 {
    guard(|| {
        // SAFETY: the caller's duty.
        let source = unsafe { &*source };
        let session = owner(device, source.storage)?;
        if bytes == 0 {
            return Ok(raw::OK);
        }
        if bytes <= session.limits()?.inline_read_bytes {
            let answer = session.ask(|outgoing, request| {
                outgoing.buffer.push(tag::READ);
                writer::unsigned(&mut outgoing.buffer, request);
                append_view(outgoing, source);
            })?;
            let reply::Result::Data(found) = answer else { return Err(unexpected("Read")) };
            if found.len() as u64 != bytes {
                return Err(Failure::runtime(format!("the executor sent {} bytes for a read of {bytes}", found.len())));
            }
            // SAFETY: the caller's duty; the reply is memory of our own.
            unsafe { std::ptr::copy_nonoverlapping(found.as_ptr(), data, found.len()) };
            return Ok(raw::OK);
        }
        read_bulk(session, source, data, bytes)
    })
}

fn read_bulk(session: &'static Session, source: &raw::View, data: *mut u8, bytes: u64) -> Result<i32, Failure> {
    let answer = session.ask(|outgoing, request| {
        outgoing.buffer.push(tag::READ_BULK);
        let transfer = outgoing.transfer();
        writer::unsigned(&mut outgoing.buffer, request);
        writer::unsigned(&mut outgoing.buffer, transfer);
        append_view(outgoing, source);
        writer::unsigned(&mut outgoing.buffer, bytes);
    })?;
    let reply::Result::Staged(staged) = answer else { return Err(unexpected("ReadBulk")) };
    // SAFETY: the caller keeps the memory until tr_read returns, and `receive` takes it back before.
    let lent = Arc::new(unsafe { Lent::to_fill(data, bytes) });
    let received = if staged.bytes == bytes {
        session.bulk.receive(session, staged.transfer, &lent)
    } else {
        Err(Failure::runtime(format!("the executor offers {} bytes for a read of {bytes}", staged.bytes)))
    };
    // Also after a failure: the stream must go on.
    session.tell(Order::TransferDone(staged.transfer));
    received.map(|()| raw::OK)
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_synchronize(device: i32) -> i32 {
    guard(|| {
        let session = open_session(device)?;
        match session.ask(|outgoing, request| outgoing.integers(tag::SYNC, &[request]))? {
            reply::Result::Done(_) => Ok(raw::OK),
            reply::Result::Data(_)
            | reply::Result::Failure(_)
            | reply::Result::Results(_)
            | reply::Result::Staged(_) => Err(unexpected("Sync")),
        }
    })
}

/// SAFETY of the caller: none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tr_mark(device: i32) -> u64 {
    let mut mark = 0;
    guard(|| {
        if let Ok(session) = open_session(device) {
            let mut outgoing = session.room()?;
            let request = outgoing.request();
            session.marks.put(request);
            outgoing.integers(tag::MARK, &[request]);
            session.appended(outgoing, false);
            mark = request;
        }
        Ok(raw::OK)
    });
    mark
}

/// SAFETY of the caller: `executor_ns` is NULL or can be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_mark_done(device: i32, mark: u64, executor_ns: *mut u64) -> i32 {
    guard(|| {
        let session = marked(device)?;
        // SAFETY: the caller's duty.
        unsafe { report(session, session.marks.look(mark), executor_ns) }
    })
}

/// SAFETY of the caller: `executor_ns` is NULL or can be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_mark_wait(device: i32, mark: u64, executor_ns: *mut u64) -> i32 {
    guard(|| {
        let session = marked(device)?;
        session.wake.notify_one();
        let mark = session.marks.wait(mark)?;
        // SAFETY: the caller's duty.
        unsafe { report(session, mark, executor_ns) }
    })
}

fn marked(device: i32) -> Result<&'static Session, Failure> {
    runtime::refuse_fork()?;
    devices::session(device).ok_or_else(Failure::no_lease)
}

/// SAFETY of the caller: `executor_ns` is NULL or can be written.
unsafe fn report(session: &Session, mark: Mark, executor_ns: *mut u64) -> Result<i32, Failure> {
    match mark {
        Mark::Pending => Ok(raw::PENDING),
        Mark::Never => Err(session.lost()),
        Mark::Reached(at) => {
            if !executor_ns.is_null() {
                // SAFETY: the caller's duty.
                unsafe { *executor_ns = at };
            }
            Ok(raw::OK)
        }
    }
}

/// The open session that owns a storage.
fn owner(device: i32, storage: u64) -> Result<&'static Session, Failure> {
    let session = open_session(device)?;
    if session.owns(storage) { Ok(session) } else { Err(Failure::of_earlier_session(device)) }
}

fn append_view(outgoing: &mut crate::submit::Outgoing, view: &raw::View) {
    // SAFETY: every caller has it from C++, which answers for the arrays.
    let (sizes, strides) =
        unsafe { (raw::slice(view.meta.sizes, view.meta.ndim), raw::slice(view.meta.strides, view.meta.ndim)) };
    outgoing.view(view, sizes, strides);
}

fn unexpected(command: &str) -> Failure {
    Failure::runtime(format!("the executor's answer to {command} is of another kind"))
}
