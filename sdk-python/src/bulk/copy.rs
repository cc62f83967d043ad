//! A copy of what a caller uploads, made while it is already being sent, in pieces that are used again: fresh memory would cost more than the copying.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use torch_remote_proto::chunk::CHUNK_BYTES;

/// Pieces kept for the next upload: 64 MiB.
const SPARE: usize = 64;

static SPARES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Grows until it is whole; readers wait for what they need.
#[derive(Debug, Default)]
pub(crate) struct Copy {
    pieces: Mutex<Vec<Bytes>>,
    grown: Notify,
}

/// Memory of one chunk, given back when nobody uses it any more.
struct Piece(Vec<u8>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut spares = lock(&SPARES);
        if spares.len() < SPARE {
            spares.push(std::mem::take(&mut self.0));
        }
    }
}

impl Copy {
    /// Copies all of `data`, piece by piece.
    pub(crate) fn fill(&self, data: &[u8]) {
        for chunk in data.chunks(CHUNK_BYTES) {
            let mut memory = lock(&SPARES).pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES));
            memory.clear();
            memory.extend_from_slice(chunk);
            lock(&self.pieces).push(Bytes::from_owner(Piece(memory)));
            self.grown.notify_waiters();
        }
    }

    /// Up to `length` bytes from `offset` on, at most to the end of a piece; waits until they are copied.
    pub(super) async fn read(&self, offset: u64, length: usize) -> Bytes {
        let (piece, start) = (offset as usize / CHUNK_BYTES, offset as usize % CHUNK_BYTES);
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if let Some(piece) = lock(&self.pieces).get(piece) {
                return piece.slice(start..piece.len().min(start + length));
            }
            grown.await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
