//! [`Times`]: how long things took, and their percentiles.

use std::time::Duration;

use serde_json::{Value, json};

/// Durations of one kind of thing.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub fn append(&mut self, mut others: Times) {
        self.0.append(&mut others.0);
    }

    /// Count, and milliseconds at the median, at 99 of 100, and at the most.
    pub fn summary(mut self) -> Value {
        self.0.sort();
        let at = |part: f64| {
            let place = ((self.0.len() as f64 * part).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
            self.0.get(place).map(|time| time.as_secs_f64() * 1e3)
        };
        json!({"count": self.0.len(), "p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
    }
}
