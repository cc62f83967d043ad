//! Storages: made, freed, resized, named.

use std::ffi::{CStr, c_char, c_int};

use torch_remote_proto::codec::{MAX_LABEL, tag, writer};

use super::{guard, owner};
use crate::devices::{self, open_session};
use crate::failure::Failure;
use crate::{ids, raw, runtime};

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
