//! The functions of `driver.h`: where C++ enters.
//!
//! Owns the crossing: pointers become slices, failures become statuses, panics stop here. Leaves everything else to `devices`, `session` and `bulk`.
//!
//! SAFETY of all functions: pointers are valid for the counts beside them for the time of the call, as driver.h says; every function checks nothing more than
//! that a NULL comes with a count of 0.

use std::panic::{AssertUnwindSafe, catch_unwind};

use torch_remote_proto::codec::tag;
use torch_remote_proto::v1::reply;

use crate::devices::{self, open_session};
use crate::failure::{self, Failure};
use crate::raw;
use crate::session::Session;

mod events;
mod operators;
mod storages;
mod transfers;

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
    let open = devices::session(device).filter(|session| session.open());
    open.and_then(|session| session.limits.get()).map_or(-1, |limits| limits.kind)
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

/// The open session that owns a storage.
fn owner(device: i32, storage: u64) -> Result<&'static Session, Failure> {
    let session = open_session(device)?;
    if session.owns(storage) { Ok(session) } else { Err(Failure::of_earlier_session(device)) }
}

fn unexpected(command: &str) -> Failure {
    Failure::runtime(format!("the executor's answer to {command} is of another kind"))
}
