//! Clocks that go on while the machine sleeps.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the machine started, sleep included.
pub fn boot() -> Duration {
    read(ClockId::Boottime)
}

/// Nanoseconds of the monotonic clock, for differences between events.
pub fn monotonic_ns() -> u64 {
    u64::try_from(read(ClockId::Monotonic).as_nanos()).unwrap_or(u64::MAX)
}

/// The clock by which a supervisor judges leases: boot time, and what a test adds to it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_file: Option<PathBuf>,
}

impl Clock {
    /// With a file whose decimal content (milliseconds) is added at each reading; a file that is missing or not a number adds nothing.
    pub fn new(offset_file: Option<PathBuf>) -> Clock {
        Clock { offset_file }
    }

    /// Now.
    pub fn now(&self) -> Duration {
        let offset = self
            .offset_file
            .as_ref()
            .and_then(|path| fs::read_to_string(path).ok())
            .and_then(|text| text.trim().parse().ok());
        boot() + Duration::from_millis(offset.unwrap_or(0))
    }
}

fn read(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
