//! Bytes that are too many for the stream of operators: uploads and downloads on connections of their own.
//!
//! Owns copies of uploads until the executor has them, and how much of them there may be; sending again after a cut. Leaves their place in the order to
//! `driver`. Invariants: uploads are sent in the order of their commands, so that the one the executor waits for is always on its way; memory of a caller is
//! never touched after the call that lent it; no download is whole before its last byte is in place.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use torch_remote_proto::client::Ending;

use crate::connect::{Endpoint, Meter};
use crate::failure::Failure;
use crate::gil::{GLANCE, Released};
use crate::runtime;
use crate::session::{Order, Session};

mod carrier;
mod copy;
mod lent;

use carrier::{Broken, Carrier};
pub(crate) use copy::Copy;
pub(crate) use lent::Lent;

/// Uploads up to this size are copied and not waited for.
pub(crate) const COPIED: u64 = 64 << 20;
/// Copies of uploads on their way, all together; the next one waits for room.
const STAGED: u64 = 256 << 20;
/// Connections, each with one upload at a time.
const CARRIERS: usize = 2;
/// After a cut, the first pause before trying again; it doubles up to a second.
const PAUSE: Duration = Duration::from_millis(20);

/// The bulk side of a session.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    state: Mutex<State>,
    /// An upload ended, or the session.
    changed: Condvar,
    /// There is an upload to take, or the session ended.
    work: Notify,
}

#[derive(Debug, Default)]
struct State {
    access: Option<Access>,
    waiting: VecDeque<Upload>,
    staged: u64,
    over: bool,
    /// The tasks that carry uploads run.
    carried: bool,
    /// Connections of downloads that ended.
    spare: Vec<Carrier>,
}

/// What a bulk connection needs.
#[derive(Debug, Clone)]
struct Access {
    lease: String,
    secret: String,
    endpoints: Arc<[Endpoint]>,
    meter: Arc<Meter>,
}

/// One upload.
#[derive(Debug, Clone)]
struct Upload {
    transfer: u64,
    total: u64,
    source: Source,
}

/// Where an upload's bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Copied(Arc<Copy>),
    Lent(Arc<Lent>),
}

impl Source {
    /// Up to `length` bytes from `offset` on; `None` if the lender has taken them back.
    async fn chunk(&self, offset: u64, length: usize) -> Option<Bytes> {
        match self {
            Source::Copied(copy) => Some(copy.read(offset, length).await),
            Source::Lent(lent) => lent.read(offset, length),
        }
    }
}

impl Bulk {
    /// The session has opened.
    pub(crate) fn open(&self, lease: &str, secret: &[u8], endpoints: Arc<[Endpoint]>, meter: Arc<Meter>) {
        let secret = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        self.lock().access = Some(Access { lease: lease.to_owned(), secret, endpoints, meter });
    }

    /// Waits until another copy of `bytes` may be made. The GIL is released meanwhile.
    ///
    /// # Errors
    /// The session is over, or Ctrl-C.
    pub(crate) fn room(&self, session: &Session, bytes: u64) -> Result<(), Failure> {
        let fits = |state: &State| state.staged == 0 || state.staged + bytes <= STAGED;
        self.wait(session, |state| fits(state).then(|| state.staged += bytes))
    }

    /// Gives back what [`Bulk::room`] found, for a copy that is not sent after all.
    pub(crate) fn leave_room(&self, bytes: u64) {
        self.lock().staged -= bytes;
        self.changed.notify_all();
    }

    /// Returns when the executor has the queued upload of `lent`, or when it never will. BLOCKING.
    ///
    /// # Errors
    /// The session is over, or Ctrl-C: the upload then goes on from a copy, since what follows it in the stream waits for its bytes.
    pub(crate) fn sent(&self, session: &Session, lent: &Lent) -> Result<(), Failure> {
        let sent = self.wait(session, |_| lent.finished().then_some(()));
        if sent.is_err() && session.open() && lent.keep_copy() {
            let mut state = self.lock();
            if !lent.finished() {
                state.staged += lent.length();
                lent.set_staged();
            }
            return sent;
        }
        lent.take_back();
        if sent.is_err() && !lent.finished() {
            let message = "an upload was interrupted, and there is no memory for a copy to finish it from".to_owned();
            session.tell(Order::Abandon(Ending { reason: "Interrupted".to_owned(), message }));
        }
        sent
    }

    /// Receives a download into lent memory. BLOCKING.
    ///
    /// # Errors
    /// The session is over, the executor does not have it, or Ctrl-C.
    pub(crate) fn receive(
        &'static self,
        session: &'static Session,
        transfer: u64,
        lent: &Arc<Lent>,
    ) -> Result<(), Failure> {
        let Some(access) = self.lock().access.clone() else { return Err(session.lost()) };
        let task = runtime::transfers().spawn(download(session, access, transfer, lent.clone()));
        let received = self.wait(session, |_| lent.finished().then_some(()));
        lent.take_back();
        task.abort();
        received?;
        match lent.failure() {
            Some(failure) => Err(failure),
            None if lent.filled() == lent.length() => Ok(()),
            // It stopped because the session did: what is not filled is nobody's value.
            None => Err(session.lost()),
        }
    }

    /// The session is over.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.over = true;
        state.waiting.clear();
        state.spare.clear();
        drop(state);
        self.changed.notify_all();
        self.work.notify_waiters();
    }

    /// Queues an upload of `total` bytes. Called with the stream's lock held, so that uploads are carried in the order of their commands: each carrier may
    /// hold one that the executor does not want yet, and the wanted one must never be behind them.
    pub(crate) fn queue(&self, session: &'static Session, transfer: u64, total: u64, source: Source) {
        let mut state = self.lock();
        if state.over {
            return;
        }
        // Connections are made with the first upload: most sessions of small models never need one.
        if !state.carried {
            state.carried = true;
            for _ in 0..CARRIERS {
                runtime::transfers().spawn(carry(session));
            }
        }
        state.waiting.push_back(Upload { transfer, total, source });
        drop(state);
        self.work.notify_one();
    }

    fn wait<T>(&self, session: &Session, mut done: impl FnMut(&mut State) -> Option<T>) -> Result<T, Failure> {
        let mut state = self.lock();
        if let Some(value) = done(&mut state) {
            return Ok(value);
        }
        drop(state);
        let released = Released::now();
        loop {
            let mut state = self.lock();
            if let Some(value) = done(&mut state) {
                // The GIL may be wanted by a thread that waits for this lock: never take it with the lock held.
                drop(state);
                return Ok(value);
            }
            if state.over {
                drop(state);
                return Err(session.lost());
            }
            drop(self.changed.wait_timeout(state, GLANCE).unwrap_or_else(PoisonError::into_inner));
            released.glance()?;
        }
    }

    fn ended(&self, upload: &Upload) {
        match &upload.source {
            Source::Copied(_) => self.lock().staged -= upload.total,
            Source::Lent(lent) => {
                // Under the lock, so that the waiter cannot miss it.
                let mut state = self.lock();
                lent.finish();
                if lent.staged() {
                    state.staged -= upload.total;
                }
                drop(state);
            }
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes uploads one after the other until the session is over.
async fn carry(session: &'static Session) {
    let bulk = &session.bulk;
    let Some(access) = bulk.lock().access.clone() else { return };
    let mut carrier = Carrier::new(access);
    loop {
        let work = bulk.work.notified();
        tokio::pin!(work);
        work.as_mut().enable();
        let (next, over) = {
            let mut state = bulk.lock();
            (state.waiting.pop_front(), state.over)
        };
        if over {
            return;
        }
        let Some(upload) = next else {
            work.await;
            continue;
        };
        if !bulk.lock().waiting.is_empty() {
            bulk.work.notify_one();
        }
        upload_until_done(session, &mut carrier, &upload).await;
        bulk.ended(&upload);
    }
}

async fn upload_until_done(session: &'static Session, carrier: &mut Carrier, upload: &Upload) {
    let mut pause = PAUSE;
    let mut ask_first = false;
    while session.open() {
        match carrier.upload(upload.transfer, upload.total, &upload.source, ask_first).await {
            Ok(()) => return,
            Err(Broken::Refused(why)) => {
                let message = format!("the executor refused an upload: {why}");
                session.tell(Order::Abandon(Ending { reason: "TransferRefused".to_owned(), message }));
                return;
            }
            Err(Broken::TakenBack) => return,
            Err(Broken::Cut(why)) => {
                tracing::debug!(transfer = upload.transfer, why, "an upload is sent again");
                ask_first = true;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

async fn download(session: &'static Session, access: Access, transfer: u64, lent: Arc<Lent>) {
    let mut carrier = session.bulk.lock().spare.pop().unwrap_or_else(|| Carrier::new(access));
    let mut pause = PAUSE;
    while session.open() {
        match carrier.download(transfer, &lent).await {
            Ok(()) | Err(Broken::TakenBack) => break,
            Err(Broken::Refused(why)) => {
                lent.fail(Failure::runtime(format!("a download from remote:{} failed: {why}", session.index)));
                break;
            }
            Err(Broken::Cut(why)) => {
                tracing::debug!(transfer, why, "a download goes on");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
    let mut state = session.bulk.lock();
    lent.finish();
    state.spare.push(carrier);
    drop(state);
    session.bulk.changed.notify_all();
}
