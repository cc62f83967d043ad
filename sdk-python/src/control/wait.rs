//! Waiting for asynchronous work from Python: the GIL is released and Ctrl-C is seen.

use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::error::Error;

/// How often a waiting call looks for signals.
const GLANCE: Duration = Duration::from_millis(100);

/// The control path's own runtime: one thread, started at first use.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("torch-remote-control")
            .enable_all()
            .build()
            .expect("a thread can be started")
    })
}

/// Runs `work` and returns its result; a Python exception from a signal handler abandons it.
pub(super) fn one(
    py: Python<'_>,
    work: impl Future<Output = Result<String, Error>> + Send + 'static,
) -> PyResult<String> {
    let (sender, mut receiver) = oneshot::channel();
    let task = runtime().spawn(async move { drop(sender.send(work.await)) });
    loop {
        let glanced = py.detach(|| runtime().block_on(async { tokio::time::timeout(GLANCE, &mut receiver).await }));
        match glanced {
            Ok(Ok(result)) => return result.map_err(|error| error.raise(py)),
            Ok(Err(_)) => {
                return Err(pyo3::exceptions::PyRuntimeError::new_err(
                    "the control path's task ended without a result",
                ));
            }
            Err(_) => {
                if let Err(interrupt) = py.check_signals() {
                    task.abort();
                    return Err(interrupt);
                }
            }
        }
    }
}

/// Hands every text that `work` sends to `seen`, until that returns true (then true) or `limit` has passed (then false).
pub(super) fn stream<F>(
    py: Python<'_>,
    limit: Option<Duration>,
    seen: &Bound<'_, PyAny>,
    work: impl FnOnce(UnboundedSender<String>) -> F,
) -> PyResult<bool>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let start = Instant::now();
    let (sender, mut receiver) = unbounded_channel();
    let mut task = runtime().spawn(work(sender));
    let outcome = loop {
        if limit.is_some_and(|limit| start.elapsed() >= limit) {
            break Ok(false);
        }
        let glanced = py.detach(|| runtime().block_on(async { tokio::time::timeout(GLANCE, receiver.recv()).await }));
        match glanced {
            Ok(Some(text)) => match seen.call1((text,)).and_then(|done| done.is_truthy()) {
                Ok(true) => break Ok(true),
                Ok(false) => {}
                Err(error) => break Err(error),
            },
            Ok(None) => {
                let ended = py.detach(|| runtime().block_on(&mut task));
                break match ended {
                    Ok(Err(error)) => Err(error.raise(py)),
                    Ok(Ok(())) => Ok(false),
                    Err(error) => Err(pyo3::exceptions::PyRuntimeError::new_err(format!(
                        "the control path's task failed: {error}"
                    ))),
                };
            }
            Err(_) => {
                if let Err(interrupt) = py.check_signals() {
                    break Err(interrupt);
                }
            }
        }
    };
    task.abort();
    outcome
}
