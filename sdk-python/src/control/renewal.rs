//! The sign of life of a lease that waits for its first session.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use pyo3::prelude::*;

use super::background::Background;
use super::connection::{Connection, Question};

/// Until the next try after one that failed; twice as long after each further one, up to the usual pause.
const AGAIN: Duration = Duration::from_secs(1);

/// A background task that renews one lease; stops when dropped.
#[pyclass(frozen, module = "torch_remote._C")]
pub struct Renewal {
    task: Background,
}

impl Renewal {
    pub(super) fn start(connection: Arc<Connection>, path: String, every: Duration) -> Self {
        let question = Question { method: Method::POST, path, body: b"{}".to_vec(), traceparent: None };
        let task = Background::start(async move {
            let mut pause = every;
            let mut again = AGAIN;
            loop {
                tokio::time::sleep(pause).await;
                pause = match connection.ask(&question, every).await {
                    Ok(_) => {
                        again = AGAIN;
                        every
                    }
                    Err(error) if error.passing() => {
                        let pause = again.min(every);
                        again = pause * 2;
                        pause
                    }
                    // The lease is gone or no longer ours: whoever waits for it sees why.
                    Err(_) => break,
                };
            }
        });
        Self { task }
    }
}

#[pymethods]
impl Renewal {
    /// Ends it. Safe to repeat.
    fn stop(&self) {
        self.task.stop();
    }
}
