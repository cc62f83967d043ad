//! Events: marks in the stream.

use torch_remote_proto::codec::tag;

use super::guard;
use crate::devices::{self, open_session};
use crate::failure::Failure;
use crate::marks::Mark;
use crate::session::Session;
use crate::{raw, runtime};

/// SAFETY of the caller: `serial` can be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_mark(device: i32, serial: *mut u64) -> u64 {
    let mut mark = 0;
    guard(|| {
        if let Ok(session) = open_session(device) {
            let mut outgoing = session.room()?;
            let request = outgoing.request();
            session.marks.put(request);
            outgoing.integers(tag::MARK, &[request]);
            session.appended(outgoing, false);
            // SAFETY: the caller's duty.
            unsafe { *serial = session.serial };
            mark = request;
        }
        Ok(raw::OK)
    });
    mark
}

/// SAFETY of the caller: `executor_ns` can be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_mark_done(device: i32, serial: u64, mark: u64, executor_ns: *mut u64) -> i32 {
    guard(|| {
        let session = marked(device, serial)?;
        // SAFETY: the caller's duty.
        unsafe { report(session, session.marks.look(mark), executor_ns) }
    })
}

/// SAFETY of the caller: `executor_ns` can be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tr_mark_wait(device: i32, serial: u64, mark: u64, executor_ns: *mut u64) -> i32 {
    guard(|| {
        let session = marked(device, serial)?;
        session.wake.notify_one();
        let mark = session.marks.wait(mark)?;
        // SAFETY: the caller's duty.
        unsafe { report(session, mark, executor_ns) }
    })
}

/// The session a mark was put into. A number of another session's mark means another place.
fn marked(device: i32, serial: u64) -> Result<&'static Session, Failure> {
    runtime::refuse_fork()?;
    let session = devices::session(device).ok_or_else(Failure::no_lease)?;
    if session.serial == serial { Ok(session) } else { Err(Failure::event_of_earlier_session(device)) }
}

/// SAFETY of the caller: `executor_ns` can be written.
unsafe fn report(session: &Session, mark: Mark, executor_ns: *mut u64) -> Result<i32, Failure> {
    let at = match mark {
        Mark::Pending => return Ok(raw::PENDING),
        Mark::Never => return Err(session.lost()),
        Mark::Reached(at) => at,
        Mark::Forgotten => 0,
    };
    // SAFETY: the caller's duty.
    unsafe { *executor_ns = at };
    Ok(raw::OK)
}
