//! Bulk bytes on their way: uploads that wait for the stream to reach them, and downloads that the stream waits for.
//!
//! Owns staging and its bound. Leaves order to the executor and connections to `session`. Invariants: staged uploads take at most `staging_bytes` together, but
//! for the one the stream waits for; bytes of a process that no longer holds the session go nowhere; a download's bytes do not change before it is done, because the executor waits in [`Transfers::download`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use torch_remote_proto::v1::Chunk;

/// The session's transfers, shared by the executor's thread and the connections.
#[derive(Debug)]
pub struct Transfers {
    state: Mutex<State>,
    /// Woken when an upload is whole, a download is done, or the incarnation changes.
    executor: Condvar,
    /// Woken when staging has room, or the executor wants an upload.
    uploads: Notify,
    staging_bytes: u64,
}

/// The process that asked is gone: what the executor does for it is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superseded;

/// Why an upload cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// The process that sent it is gone.
    Superseded,
    /// It has another length than its command says.
    Announced,
    /// The executor's host has no memory for it.
    NoMemory,
}

/// Why a chunk is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A hole.
    #[error("chunk at {offset} came where {received} was due: send again from there")]
    Gap {
        /// Of the chunk.
        offset: u64,
        /// Received so far.
        received: u64,
    },
    /// More bytes than announced, or announced differently before.
    #[error("transfer {0} carries bytes that were not announced")]
    Announced(u64),
    /// The process that sends it no longer holds the session.
    #[error("SessionLost: another process has taken the session over")]
    Superseded,
}

#[derive(Debug, Default)]
struct State {
    incarnation: u32,
    uploads: HashMap<u64, Upload>,
    staged: u64,
    /// The upload the stream waits for, and its length.
    wanted: Option<(u64, u64)>,
    /// Uploads that the executor has used, the oldest first: a repeat of one is acknowledged.
    used: VecDeque<(u64, u64)>,
    download: Option<(u64, Bytes)>,
    /// Downloads the client said to have, while the stream has not reached them: none, unless the client errs.
    done: Option<u64>,
}

#[derive(Debug)]
struct Upload {
    total: u64,
    data: Vec<u8>,
    /// There was no memory for it: its bytes are acknowledged and dropped.
    lost: bool,
}

/// Used uploads remembered.
const REMEMBERED: usize = 4096;

impl Transfers {
    /// With a bound for uploads that wait unread.
    pub fn new(staging_bytes: u64) -> Transfers {
        Transfers { state: Mutex::default(), executor: Condvar::new(), uploads: Notify::new(), staging_bytes }
    }

    /// A new process holds the session: all transfers of the one before end.
    pub fn begin(&self, incarnation: u32) {
        *self.lock() = State { incarnation, ..State::default() };
        self.executor.notify_all();
        self.uploads.notify_waiters();
    }

    /// The incarnation that holds the session.
    pub fn incarnation(&self) -> u32 {
        self.lock().incarnation
    }

    /// Waits for an upload of `total` bytes and takes it. Executor's thread.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn upload(&self, incarnation: u32, transfer: u64, total: u64) -> Result<Vec<u8>, Unusable> {
        let mut state = self.lock();
        if total == 0 {
            return Ok(Vec::new());
        }
        if state.incarnation != incarnation {
            return Err(Unusable::Superseded);
        }
        state.wanted = Some((transfer, total));
        self.uploads.notify_waiters();
        loop {
            if state.incarnation != incarnation {
                return Err(Unusable::Superseded);
            }
            match state.uploads.get(&transfer) {
                Some(upload) if upload.total != total => return Err(Unusable::Announced),
                Some(upload) if upload.lost => {
                    state.drop_upload(transfer, total);
                    state.wanted = None;
                    self.uploads.notify_waiters();
                    return Err(Unusable::NoMemory);
                }
                Some(upload) if upload.data.len() as u64 == total => {
                    let upload = state.drop_upload(transfer, total);
                    state.wanted = None;
                    self.uploads.notify_waiters();
                    return Ok(upload.map(|upload| upload.data).unwrap_or_default());
                }
                Some(_) | None => state = self.executor.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// The stream has no use for an upload: what came is dropped, what comes is acknowledged. Executor's thread.
    pub fn discard(&self, incarnation: u32, transfer: u64, total: u64) {
        let mut state = self.lock();
        if state.incarnation == incarnation {
            state.drop_upload(transfer, total);
        }
        self.uploads.notify_waiters();
    }

    /// Takes a chunk of `incarnation`'s when there is room for its upload; returns how many bytes are received from the start on.
    ///
    /// # Errors
    /// [`Refusal`].
    ///
    /// # Cancel safety
    /// A cancelled call has taken the chunk or not; the sender asks with an empty chunk.
    pub async fn chunk(&self, incarnation: u32, chunk: &Chunk) -> Result<u64, Refusal> {
        loop {
            let room = self.uploads.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if let Some(result) = self.try_chunk(incarnation, chunk) {
                return result;
            }
            room.await;
        }
    }

    /// Offers the bytes of a download. Executor's thread.
    pub fn offer(&self, incarnation: u32, transfer: u64, data: Bytes) {
        let mut state = self.lock();
        if state.incarnation == incarnation {
            state.download = Some((transfer, data));
        }
    }

    /// Waits until the client has the last byte of the download offered. Executor's thread.
    ///
    /// # Errors
    /// [`Superseded`] when `incarnation` no longer holds the session.
    pub fn download(&self, incarnation: u32, transfer: u64) -> Result<(), Superseded> {
        let mut state = self.lock();
        loop {
            if state.incarnation != incarnation {
                return Err(Superseded);
            }
            if state.done == Some(transfer) {
                state.done = None;
                state.download = None;
                return Ok(());
            }
            state = self.executor.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The bytes of the download that `incarnation`'s stream waits for, if it is this one.
    pub fn bytes(&self, incarnation: u32, transfer: u64) -> Option<Bytes> {
        let state = self.lock();
        let offered = state.download.as_ref().filter(|_| state.incarnation == incarnation);
        offered.filter(|(offered, _)| *offered == transfer).map(|(_, data)| data.clone())
    }

    /// The client has the last byte. Of a transfer that is not offered nothing comes: a repeat after a resume.
    pub fn done(&self, transfer: u64) {
        let mut state = self.lock();
        if state.download.as_ref().is_some_and(|(offered, _)| *offered == transfer) {
            state.done = Some(transfer);
            self.executor.notify_all();
        }
    }

    fn try_chunk(&self, incarnation: u32, chunk: &Chunk) -> Option<Result<u64, Refusal>> {
        let Chunk { transfer, offset, total, ref data } = *chunk;
        let mut state = self.lock();
        // It may have waited for room while another process attached, whose transfers have the same numbers.
        if state.incarnation != incarnation {
            return Some(Err(Refusal::Superseded));
        }
        if let Some((_, total)) = state.used.iter().find(|(used, _)| *used == transfer) {
            return Some(Ok(*total));
        }
        if !state.uploads.contains_key(&transfer) {
            match state.wanted {
                Some((wanted, length)) if wanted == transfer && length != total => {
                    return Some(Err(Refusal::Announced(transfer)));
                }
                Some((wanted, _)) if wanted == transfer => {}
                Some(_) | None if state.staged.saturating_add(total) > self.staging_bytes => return None,
                Some(_) | None => {}
            }
            state.staged += total;
            state.uploads.insert(transfer, Upload { total, data: Vec::new(), lost: false });
        }
        let upload = state.uploads.get_mut(&transfer).expect("inserted above");
        if upload.lost {
            return Some(Ok(total));
        }
        let received = upload.data.len() as u64;
        let end = offset.saturating_add(data.len() as u64);
        if upload.total != total || end > total {
            return Some(Err(Refusal::Announced(transfer)));
        }
        if offset > received {
            return Some(Err(Refusal::Gap { offset, received }));
        }
        if end > received {
            let whole = usize::try_from(total).unwrap_or(usize::MAX);
            if upload.data.capacity() == 0 && upload.data.try_reserve_exact(whole).is_err() {
                upload.lost = true;
                self.executor.notify_all();
                return Some(Ok(total));
            }
            upload.data.extend_from_slice(&data[(received - offset) as usize..]);
        }
        let received = upload.data.len() as u64;
        if received == total {
            self.executor.notify_all();
        }
        Some(Ok(received))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes an upload out of staging, and remembers that it is done with.
    fn drop_upload(&mut self, transfer: u64, total: u64) -> Option<Upload> {
        let upload = self.uploads.remove(&transfer);
        self.staged -= upload.as_ref().map_or(0, |upload| upload.total);
        self.used.push_back((transfer, total));
        if self.used.len() > REMEMBERED {
            self.used.pop_front();
        }
        upload
    }
}

#[cfg(test)]
mod tests;
