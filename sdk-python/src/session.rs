//! A session with one executor, as the threads that issue operators see it.
//!
//! Owns what they share with the conversation: the outgoing buffer, who waits for which reply, limits and counts. Leaves the wire to `conversation`, bytes in
//! bulk to `bulk`. Invariant: a session's memory stays for the process's life (a few hundred bytes once it is over), so that no caller holds a lock to reach it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use torch_remote_proto::client::Ending;
use torch_remote_proto::v1::{self, reply, value::Kind};

use crate::bulk::Bulk;
use crate::connect::Meter;
use crate::failure::Failure;
use crate::gil::{GLANCE, Released};
use crate::marks::Marks;
use crate::submit::Outgoing;
use crate::sync::{Answer, Waiter};

/// What the conversation is told apart from commands.
#[derive(Debug)]
pub(crate) enum Order {
    /// The last byte of a ReadBulk is here.
    TransferDone(u64),
    /// The lease is over by the user's wish.
    Goodbye,
    /// End without a word, for this reason.
    Abandon(Ending),
    /// Break the connection after so many bytes.
    Cut(i64),
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Of the device.
    pub(crate) index: i32,
    /// Of this session among all of the process; never 0.
    pub(crate) serial: u64,
    /// As the agent logs it.
    pub(crate) lease: String,
    outgoing: Mutex<Outgoing>,
    room: Condvar,
    /// Wakes the writer.
    pub(crate) wake: Notify,
    pub(crate) orders: UnboundedSender<Order>,
    waiters: Mutex<HashMap<u64, Arc<Waiter>>>,
    pub(crate) marks: Marks,
    /// Set once, when the session opens.
    pub(crate) limits: OnceLock<Limits>,
    ending: OnceLock<Ending>,
    over: AtomicBool,
    /// Sent and not acknowledged.
    unacknowledged: AtomicU64,
    pub(crate) connected: AtomicBool,
    pub(crate) meter: Arc<Meter>,
    pub(crate) counts: Counts,
    pub(crate) bulk: Bulk,
}

static SERIAL: AtomicU64 = AtomicU64::new(1);

/// From the Welcome.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Ids of this session start here.
    pub first_id: u64,
    /// 0 CPU, 1 CUDA.
    pub kind: i32,
    pub unacknowledged_bytes: u64,
    pub inline_write_bytes: u64,
    pub inline_read_bytes: u64,
    pub memory_bytes: u64,
}

/// Counts for `stats`.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub syncs: AtomicU64,
    pub reconnects: AtomicU64,
    pub batches: AtomicU64,
    pub round_trip_us: AtomicI64,
}

impl Session {
    pub(crate) fn new(index: i32, lease: String, orders: UnboundedSender<Order>) -> Self {
        Session {
            index,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            lease,
            outgoing: Mutex::default(),
            room: Condvar::new(),
            wake: Notify::new(),
            orders,
            waiters: Mutex::default(),
            marks: Marks::default(),
            limits: OnceLock::new(),
            ending: OnceLock::new(),
            over: AtomicBool::new(false),
            unacknowledged: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            meter: Arc::default(),
            counts: Counts::default(),
            bulk: Bulk::default(),
        }
    }

    /// Whether it can still be used.
    #[inline]
    pub(crate) fn open(&self) -> bool {
        !self.over.load(Ordering::Acquire)
    }

    /// Why it is over.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }

    /// RemoteLost, with the reason.
    pub(crate) fn lost(&self) -> Failure {
        let unknown = Ending { reason: "Ended".to_owned(), message: "the session has ended".to_owned() };
        Failure::lost(self.index, self.ending().unwrap_or(&unknown))
    }

    /// Whether a storage was made in this session.
    #[inline]
    pub(crate) fn owns(&self, storage: u64) -> bool {
        self.limits.get().is_some_and(|limits| storage >= limits.first_id)
    }

    /// The limits of an open session.
    pub(crate) fn limits(&self) -> Result<&Limits, Failure> {
        self.limits.get().ok_or_else(|| self.lost())
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, once there is room for more. May wait; the GIL is released meanwhile.
    ///
    /// # Errors
    /// The session is over, or Ctrl-C.
    #[inline]
    pub(crate) fn room(&self) -> Result<MutexGuard<'_, Outgoing>, Failure> {
        let outgoing = self.lock();
        if outgoing.closed {
            return Err(self.lost());
        }
        if self.full(&outgoing) {
            drop(outgoing);
            return self.wait_for_room();
        }
        Ok(outgoing)
    }

    #[inline]
    fn full(&self, outgoing: &Outgoing) -> bool {
        let out = outgoing.waiting_bytes() + self.unacknowledged.load(Ordering::Relaxed);
        out > self.limits.get().map_or(0, |limits| limits.unacknowledged_bytes)
    }

    #[cold]
    fn wait_for_room(&self) -> Result<MutexGuard<'_, Outgoing>, Failure> {
        let released = Released::now();
        loop {
            let mut outgoing = self.lock();
            outgoing.crowded += 1;
            self.wake.notify_one();
            let (mut outgoing, _) = self.room.wait_timeout(outgoing, GLANCE).unwrap_or_else(PoisonError::into_inner);
            outgoing.crowded -= 1;
            let (closed, full) = (outgoing.closed, self.full(&outgoing));
            // The GIL may be wanted by a thread that waits for this lock: never take it with the lock held.
            drop(outgoing);
            if closed {
                return Err(self.lost());
            }
            if !full {
                drop(released);
                return Ok(self.lock());
            }
            released.glance()?;
        }
    }

    /// After appending: wakes the writer if it sleeps, or, `urgent`, in any case.
    #[inline]
    pub(crate) fn appended(&self, mut outgoing: MutexGuard<'_, Outgoing>, urgent: bool) {
        let wake = urgent || !outgoing.awake;
        outgoing.awake = true;
        drop(outgoing);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Bytes of batches not acknowledged, from the conversation.
    pub(crate) fn set_unacknowledged(&self, bytes: u64) {
        self.unacknowledged.store(bytes, Ordering::Relaxed);
        if self.lock().crowded > 0 {
            self.room.notify_all();
        }
    }

    /// Appends what `write` appends, with a request number whose reply is waited for. BLOCKING.
    ///
    /// # Errors
    /// The session is over, Ctrl-C, a command too long to send, or the executor's failure.
    pub(crate) fn ask(&self, write: impl FnOnce(&mut Outgoing, u64)) -> Result<reply::Result, Failure> {
        let (request, waiter) = self.begin(write)?;
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.end(request, &waiter)
    }

    /// The first half of [`Session::ask`].
    pub(crate) fn begin(&self, write: impl FnOnce(&mut Outgoing, u64)) -> Result<(u64, Arc<Waiter>), Failure> {
        let waiter = Waiter::of_this_thread();
        let mut outgoing = self.room()?;
        let request = outgoing.request();
        let start = outgoing.buffer.len();
        write(&mut outgoing, request);
        outgoing.whole(start)?;
        self.waiting().insert(request, waiter.clone());
        outgoing.close_batch(256 << 10);
        self.appended(outgoing, true);
        Ok((request, waiter))
    }

    /// The second half.
    pub(crate) fn end(&self, request: u64, waiter: &Waiter) -> Result<reply::Result, Failure> {
        match waiter.wait() {
            Ok(Answer::Reply(reply::Result::Failure(failure))) => Err(Failure::of_operator(self.index, &failure)),
            Ok(Answer::Reply(result)) => Ok(result),
            Ok(Answer::Over) => Err(self.lost()),
            Err(interrupted) => {
                // Gone from the table: its answer is being handed over at this moment, and nobody else will see what it names.
                let handed = self.waiting().remove(&request).is_none();
                if handed && let Answer::Reply(result) = waiter.take() {
                    self.unwanted(result);
                }
                Err(interrupted)
            }
        }
    }

    /// Whether a thread waits for a reply.
    pub(crate) fn asked(&self) -> bool {
        !self.waiting().is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Arc<Waiter>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply came.
    pub(crate) fn answered(&self, request: u64, result: reply::Result) {
        if let reply::Result::Done(v1::Done { executor_ns }) = &result
            && self.marks.reached(request, *executor_ns)
        {
            return;
        }
        let waiter = self.waiting().remove(&request);
        match waiter {
            Some(waiter) => waiter.fill(Answer::Reply(result)),
            None => self.unwanted(result),
        }
    }

    /// A reply whose asker was interrupted.
    fn unwanted(&self, result: reply::Result) {
        match result {
            // The stream must go on.
            reply::Result::Staged(staged) => {
                self.tell(Order::TransferDone(staged.transfer));
            }
            // Nobody will ever name what it made.
            reply::Result::Results(results) => {
                let mut outgoing = self.lock();
                for storage in made(&results) {
                    outgoing.free_unknown(storage);
                }
                self.appended(outgoing, false);
            }
            reply::Result::Data(_) | reply::Result::Failure(_) | reply::Result::Done(_) => {}
        }
    }

    /// Tells the conversation; false when it is over.
    pub(crate) fn tell(&self, order: Order) -> bool {
        self.orders.send(order).is_ok()
    }

    /// The session is over: everyone who waits is told.
    pub(crate) fn finish(&self, ending: Ending) {
        // Only the first ending is kept: a second one has nothing to add.
        if self.ending.set(ending).is_err() {
            return;
        }
        self.over.store(true, Ordering::Release);
        self.connected.store(false, Ordering::Relaxed);
        self.lock().close();
        self.room.notify_all();
        self.marks.finish();
        let waiters: Vec<_> = self.waiting().drain().collect();
        for (_, waiter) in waiters {
            waiter.fill(Answer::Over);
        }
        self.bulk.finish();
    }
}

/// Storages of the tensors among results.
fn made(results: &v1::Results) -> impl Iterator<Item = u64> {
    let tensors = results.values.iter().flat_map(|value| match &value.kind {
        Some(Kind::Tensor(tensor)) => std::slice::from_ref(tensor),
        Some(Kind::Tensors(tensors)) => tensors.tensors.as_slice(),
        Some(_) | None => &[],
    });
    tensors.filter(|tensor| !tensor.undefined).map(|tensor| tensor.storage)
}
