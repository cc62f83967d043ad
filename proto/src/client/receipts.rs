//! Which replies have come, which of them the executor knows to be seen, and which transfers it may not have heard of.

use crate::v1::{Reply, reply};
use crate::violation::Violation;

/// RepliesSeen is sent after this many replies, ...
const REPLIES: u64 = 64;
/// ... or this many bytes of them; and with each keepalive.
const BYTES: u64 = 256 << 10;

/// Counts from the session's first reply.
#[derive(Debug, Clone, Default)]
pub(super) struct Receipts {
    seen: u64,
    said: u64,
    unsaid_bytes: u64,
    transfers: Vec<u64>,
}

impl Receipts {
    /// Highest reply received.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes a reply; `None` if it came before.
    pub(super) fn receive(&mut self, reply: Reply) -> Result<Option<reply::Result>, Violation> {
        if reply.seq <= self.seen {
            return Ok(None);
        }
        if reply.seq != self.seen + 1 {
            return Err(Violation::ReplyGap { expected: self.seen + 1, got: reply.seq });
        }
        self.seen = reply.seq;
        self.transfers.clear();
        let result = reply.result.ok_or(Violation::UnknownFrame)?;
        if let reply::Result::Data(data) = &result {
            self.unsaid_bytes += data.len() as u64;
        }
        Ok(Some(result))
    }

    /// The number to say, if enough has gathered.
    pub(super) fn due(&mut self) -> Option<u64> {
        if self.seen - self.said >= REPLIES || self.unsaid_bytes >= BYTES { self.say() } else { None }
    }

    /// The number to say, if there is anything new.
    pub(super) fn say(&mut self) -> Option<u64> {
        let news = self.seen > self.said;
        self.said = self.seen;
        self.unsaid_bytes = 0;
        news.then_some(self.seen)
    }

    /// Remembers a TransferDone: it is said again after a reconnect, until a later reply shows that the stream went on.
    pub(super) fn transfer_done(&mut self, transfer: u64) {
        self.transfers.push(transfer);
    }

    /// Those remembered.
    pub(super) fn transfers_done(&self) -> &[u64] {
        &self.transfers
    }
}
