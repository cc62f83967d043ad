//! Bytes that are too many for the stream of operators: uploads and downloads on connections of their own.
//!
//! Owns copies of uploads until the executor has them, and how much of them there may be; sending again after a cut. Leaves their place in the order to
//! `driver`. Invariants: uploads are sent in the order of their commands, so that the one the executor waits for is always on its way; memory of a caller is
//! never touched after the call that lent it.

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
use copy::Copy;
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
enum Source {
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

    /// Sends a copy of `data`, which is begun to be sent while it is made; [`Bulk::room`] was waited for.
    pub(crate) fn send(&self, session: &'static Session, transfer: u64, data: &[u8]) {
        let copy = Arc::new(Copy::default());
        self.queue(session, Upload { transfer, total: data.len() as u64, source: Source::Copied(copy.clone()) });
        copy.fill(data);
    }

    /// Sends lent memory as an upload, and returns when the executor has it, or when it never will. BLOCKING.
    ///
    /// # Errors
    /// The session is over, or Ctrl-C: the session is ended then, since its stream waits for bytes that will not come.
    pub(crate) fn send_lent(&self, session: &'static Session, transfer: u64, lent: &Arc<Lent>) -> Result<(), Failure> {
        let total = lent.length();
        self.queue(session, Upload { transfer, total, source: Source::Lent(lent.clone()) });
        let sent = self.wait(session, |_| lent.finished().then_some(()));
        lent.take_back();
        if sent.is_err() {
            let message = "an upload was interrupted, and what follows it cannot run without its bytes".to_owned();
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
        lent.failure().map_or(Ok(()), Err)
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

    fn queue(&self, session: &'static Session, upload: Upload) {
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
        state.waiting.push_back(upload);
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
                let guard = self.lock();
                lent.finish();
                drop(guard);
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
