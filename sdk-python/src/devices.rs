//! Which session stands behind which device index.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use torch_remote_proto::client::{Ending, Held, Settings};

use crate::connect::Endpoint;
use crate::conversation::Conversation;
use crate::failure::Failure;
use crate::gil::{GLANCE, Released};
use crate::runtime;
use crate::session::{Order, Session};

/// As many as the device guard tells PyTorch there could be.
pub(crate) const DEVICES: usize = 16;

static SESSIONS: [AtomicPtr<Session>; DEVICES] = [const { AtomicPtr::new(std::ptr::null_mut()) }; DEVICES];
/// Held while an index is chosen; its condition tells that a session opened or ended.
static OPENING: Mutex<()> = Mutex::new(());
static OPENED: Condvar = Condvar::new();

/// The session behind an index, open or over.
#[inline]
pub(crate) fn session(device: i32) -> Option<&'static Session> {
    let slot = SESSIONS.get(usize::try_from(device).ok()?)?;
    // SAFETY: the pointer is null or came from Box::leak, and is never freed.
    unsafe { slot.load(Ordering::Acquire).as_ref() }
}

/// The open session behind an index.
#[inline]
pub(crate) fn open_session(device: i32) -> Result<&'static Session, Failure> {
    runtime::refuse_fork()?;
    match session(device) {
        Some(session) if !session.open() => Err(session.lost()),
        Some(session) if session.limits.get().is_some() => Ok(session),
        Some(_) | None => Err(Failure::no_lease()),
    }
}

/// Indexes with an open session.
pub(crate) fn leased() -> Vec<i32> {
    if runtime::forked() {
        return Vec::new();
    }
    (0..DEVICES as i32).filter(|device| open_session(*device).is_ok()).collect()
}

/// Open sessions.
pub(crate) fn count() -> usize {
    leased().len()
}

/// What a session is opened with.
#[derive(Debug)]
pub(crate) struct Opening {
    pub endpoints: Arc<[Endpoint]>,
    pub credential: Held,
    pub settings: Settings,
    /// namespace/name, for texts.
    pub lease: String,
}

/// Opens a session behind the first free index and waits for its Welcome. BLOCKING.
///
/// # Errors
/// All indexes are taken, the executor refuses, it cannot be reached, or Ctrl-C.
pub(crate) fn open(opening: Opening) -> Result<&'static Session, Failure> {
    runtime::refuse_fork()?;
    let released = Released::now();
    let (session, before) = place(opening)?;
    loop {
        if session.limits.get().is_some() {
            return Ok(session);
        }
        if !session.open() {
            restore(session, before);
            let why =
                session.ending().map_or_else(String::new, |ending| format!("{}: {}", ending.reason, ending.message));
            return Err(Failure::runtime(format!("the session of lease {} cannot be opened: {why}", session.lease)));
        }
        if let Err(interrupted) = released.glance() {
            let ending = Ending { reason: "Interrupted".to_owned(), message: "interrupted while it opened".to_owned() };
            session.tell(Order::Abandon(ending));
            return Err(interrupted);
        }
        let guard = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        if session.limits.get().is_none() && session.open() {
            drop(OPENED.wait_timeout(guard, GLANCE).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Puts a session behind the first free index; what stood there before comes back if it does not open.
fn place(opening: Opening) -> Result<(&'static Session, *mut Session), Failure> {
    let guard = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    let free = (0..DEVICES as i32).find(|device| session(*device).is_none_or(|session| !session.open()));
    let index = free.ok_or_else(|| {
        Failure::runtime(format!(
            "this process holds {DEVICES} leased devices, the most there can be: release one first"
        ))
    })?;
    let (orders, receiver) = mpsc::unbounded_channel();
    let placed: &'static Session = Box::leak(Box::new(Session::new(index, opening.lease, orders)));
    let before = SESSIONS[index as usize].swap(std::ptr::from_ref(placed).cast_mut(), Ordering::AcqRel);
    drop(guard);
    let conversation = Conversation::new(placed, opening.settings, opening.credential, opening.endpoints);
    runtime::conversations().spawn(conversation.run(receiver));
    Ok((placed, before))
}

/// Puts back what stood behind the index of a session that did not open, unless yet another one stands there by now.
fn restore(session: &'static Session, before: *mut Session) {
    let ours = std::ptr::from_ref(session).cast_mut();
    let slot = &SESSIONS[session.index as usize];
    // An error means that the index has been taken since: it is not ours to change any more.
    slot.compare_exchange(ours, before, Ordering::AcqRel, Ordering::Relaxed).ok();
}

/// Waits until a session is over, `limit` at most.
pub(crate) fn wait_for_end(session: &Session, limit: Duration) {
    let start = Instant::now();
    let mut guard = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    while session.open() && start.elapsed() < limit {
        (guard, _) = OPENED.wait_timeout(guard, GLANCE).unwrap_or_else(PoisonError::into_inner);
    }
}

/// A session opened or ended: whoever waits in [`open`] looks again.
pub(crate) fn opened() {
    drop(OPENING.lock().unwrap_or_else(PoisonError::into_inner));
    OPENED.notify_all();
}
