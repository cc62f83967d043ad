//! Replies kept until the client has seen them.

use std::collections::VecDeque;

use crate::v1::{Reply, reply};
use crate::violation::Violation;

/// Most replies kept. A client that lets more gather breaks the protocol.
const MAX_KEPT: usize = 1 << 16;

/// Numbered replies, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Replies {
    sent: u64,
    kept: VecDeque<Reply>,
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
        self.kept.push_back(reply.clone());
        Ok(reply)
    }

    /// Drops all up to `seq`.
    pub(super) fn seen(&mut self, seq: u64) {
        while self.kept.front().is_some_and(|reply| reply.seq <= seq) {
            self.kept.pop_front();
        }
    }

    /// Those not seen yet.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Reply> {
        self.kept.iter()
    }
}
