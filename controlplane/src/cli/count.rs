//! A line that counts what is done, while a person watches and there is enough of it.

use std::io::{IsTerminal, Write};

/// Fewer are done before anyone has read the line.
const WORTH_IT: usize = 20;

/// The line, on standard error; gone when it is dropped.
#[derive(Debug)]
pub struct Count {
    shown: bool,
    what: &'static str,
    done: usize,
    all: usize,
}

impl Count {
    /// Of so many.
    pub fn of(all: usize, what: &'static str) -> Self {
        Self { shown: all >= WORTH_IT && std::io::stderr().is_terminal(), what, done: 0, all }
    }

    /// One more is done.
    pub fn step(&mut self) {
        self.done += 1;
        self.show(&format!("{} {} of {}", self.what, self.done, self.all));
    }

    /// Room for other output.
    pub fn clear(&self) {
        self.show("");
    }

    fn show(&self, text: &str) {
        if self.shown {
            let mut err = std::io::stderr().lock();
            // A terminal that is gone takes no counting, and nothing else depends on it.
            write!(err, "\r\x1b[K{text}").and_then(|()| err.flush()).ok();
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.clear();
    }
}
