//! Operators: their signatures, calls that do not wait, and calls that do.

use torch_remote_proto::codec::{signature as wire, tag, writer};
use torch_remote_proto::v1::reply;

use super::{guard, unexpected};
use crate::devices::{self, open_session};
use crate::failure::Failure;
use crate::results::Results;
use crate::submit::{Call, Misfit};
use crate::{raw, runtime, signature};

/// SAFETY of the caller: `signature` and all it points to.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_define(device: i32, sig: u32, signature: *const raw::Signature) -> i32 {
    guard(|| {
        let session = open_session(device)?;
        // SAFETY: the caller's duty.
        let definition = unsafe { signature::signature(&*signature) }?;
        let mut outgoing = session.room()?;
        outgoing.define(sig, &definition)?;
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
            Err(Misfit::TooLong(too_long)) => Err(too_long.into()),
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
