//! Replies kept until the client has seen them.

use std::collections::VecDeque;

use prost::Message;

use crate::v1::{Reply, reply};
use crate::violation::Violation;

/// Most replies kept. A client that lets more gather breaks the protocol.
const MAX_KEPT: usize = 1 << 16;

/// From here on the executor waits: half of what may be kept, and as many bytes as a long line holds.
const FULL: usize = MAX_KEPT / 2;
const FULL_BYTES: usize = 64 << 20;

/// Numbered replies, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Replies {
    sent: u64,
    kept: VecDeque<Reply>,
    bytes: usize,
}

impl Replies {
    /// Number of the last reply.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Gives a reply its number and keeps it.
    pub(super) fn keep(&mut self, request: u64, result: reply::Result) -> Result<Reply, Violation> {
        if self.kept.len() >= MAX_KEPT {
            return Err(Violation::RepliesNotSeen(self.kept.len()));
        }
        self.sent += 1;
        let reply = Reply { seq: self.sent, request, result: Some(result) };
        self.bytes += reply.encoded_len();
        self.kept.push_back(reply.clone());
        Ok(reply)
    }

    /// Drops all up to `seq`.
    pub(super) fn seen(&mut self, seq: u64) {
        while let Some(reply) = self.kept.pop_front_if(|reply| reply.seq <= seq) {
            self.bytes -= reply.encoded_len();
        }
    }

    /// Whether no more should be made until some are seen.
    pub(super) fn full(&self) -> bool {
        self.kept.len() >= FULL || self.bytes >= FULL_BYTES
    }

    /// Those not seen yet.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Reply> {
        self.kept.iter()
    }
}
