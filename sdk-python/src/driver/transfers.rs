//! Bytes of tensors: in the stream while they are few, in bulk beyond.

use std::sync::Arc;

use torch_remote_proto::codec::{tag, writer};
use torch_remote_proto::v1::reply;

use super::{guard, owner, unexpected};
use crate::bulk::{COPIED, Copy, Lent, Source};
use crate::failure::Failure;
use crate::raw;
use crate::session::{Order, Session};
use crate::submit::Outgoing;

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
            let copy = Arc::new(Copy::default());
            write_bulk(session, destination, bytes, Source::Copied(copy.clone()))
                .inspect_err(|_| session.bulk.leave_room(bytes))?;
            // It is begun to be sent while it is made.
            // SAFETY: the caller's duty.
            copy.fill(unsafe { std::slice::from_raw_parts(data, bytes as usize) });
            return Ok(raw::OK);
        }
        // SAFETY: the caller keeps the memory until this call returns, and `sent` ends the loan before.
        let lent = Arc::new(unsafe { Lent::to_read(data, bytes) });
        write_bulk(session, destination, bytes, Source::Lent(lent.clone()))?;
        session.bulk.sent(session, &lent)?;
        Ok(raw::OK)
    })
}

fn write_bulk(session: &'static Session, destination: &raw::View, bytes: u64, source: Source) -> Result<(), Failure> {
    let mut outgoing = session.room()?;
    let transfer = outgoing.transfer();
    outgoing.buffer.push(tag::WRITE_BULK);
    writer::unsigned(&mut outgoing.buffer, transfer);
    append_view(&mut outgoing, destination);
    writer::unsigned(&mut outgoing.buffer, bytes);
    session.bulk.queue(session, transfer, bytes, source);
    // Urgent: the upload would wait for its command.
    session.appended(outgoing, true);
    Ok(())
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

fn append_view(outgoing: &mut Outgoing, view: &raw::View) {
    // SAFETY: every caller has it from C++, which answers for the arrays.
    let (sizes, strides) =
        unsafe { (raw::slice(view.meta.sizes, view.meta.ndim), raw::slice(view.meta.strides, view.meta.ndim)) };
    outgoing.view(view, sizes, strides);
}
