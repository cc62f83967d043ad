//! Batches the executor has not acknowledged: what the client sends again after a reconnect.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::codec::window_bytes;
use crate::v1::Batch;

/// Numbered batches, the oldest first. Its size is bounded by whoever makes batches: see [`History::bytes`].
#[derive(Debug, Clone, Default)]
pub struct History {
    made: u64,
    acknowledged: u64,
    kept: VecDeque<Bytes>,
    bytes: u64,
}

impl History {
    /// Number of the last batch made.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Number of the last batch acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Bytes of the window that those kept take.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives whole commands the next number and keeps them.
    pub fn push(&mut self, commands: Bytes) -> Batch {
        self.made += 1;
        self.bytes += window_bytes(commands.len());
        self.kept.push_back(commands.clone());
        Batch { seq: self.made, commands }
    }

    /// Drops all up to `seq`, which is at most [`History::made`].
    pub fn acknowledge(&mut self, seq: u64) {
        while self.acknowledged < seq.min(self.made) {
            let commands = self.kept.pop_front().expect("a batch made and not acknowledged is kept");
            self.bytes -= window_bytes(commands.len());
            self.acknowledged += 1;
        }
    }

    /// Those kept, in order.
    pub fn unacknowledged(&self) -> impl Iterator<Item = Batch> {
        self.kept.iter().zip(self.acknowledged + 1..).map(|(commands, seq)| Batch { seq, commands: commands.clone() })
    }
}
