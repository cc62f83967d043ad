//! A session as Python holds it: that very session, whatever stands behind its index later.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use torch_remote_proto::client::{Ending, Held, Settings};

use super::raise;
use crate::connect::Endpoint;
use crate::devices::{self, Opening};
use crate::session::{Order, Session};
use crate::{raw, runtime};

/// An executor that accepts but does not say Welcome is given up after this long.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Unless the lease says otherwise.
const RECONNECT_WINDOW: Duration = Duration::from_secs(1800);
/// How long the end of a session is waited for.
const CLOSING: Duration = Duration::from_secs(3);

/// The session of a lease with one executor. An index is used again when its session is over; this object is not.
#[pyclass(frozen, name = "Session", module = "torch_remote._C")]
#[derive(Debug)]
pub struct Opened {
    pub(crate) session: &'static Session,
}

#[pymethods]
impl Opened {
    /// Opens (or, `attach`, takes over) a lease's session with one executor. BLOCKING.
    #[expect(clippy::too_many_arguments, reason = "keywords of a Python call")]
    #[new]
    #[pyo3(signature = (endpoints, token, attach, uid, lease, *, reconnect_window=None, open_timeout=None))]
    pub(super) fn open(
        py: Python<'_>,
        endpoints: Vec<HashMap<String, String>>,
        token: String,
        attach: bool,
        uid: String,
        lease: String,
        reconnect_window: Option<f64>,
        open_timeout: Option<f64>,
    ) -> PyResult<Self> {
        let endpoints = endpoints.iter().map(endpoint).collect::<PyResult<Vec<_>>>()?;
        if endpoints.is_empty() {
            let message = format!("lease {lease} ({uid}) names no endpoint: wait until it is Bound");
            return Err(PyValueError::new_err(message));
        }
        let torch: String = py.import("torch")?.getattr("__version__")?.str()?.extract()?;
        let settings = Settings {
            client: format!("torch-remote-sdk/{} lease/{lease}", env!("CARGO_PKG_VERSION")),
            torch,
            open_timeout: open_timeout.map_or(OPEN_TIMEOUT, Duration::from_secs_f64),
            reconnect_window: reconnect_window.map_or(RECONNECT_WINDOW, Duration::from_secs_f64),
        };
        let credential = if attach { Held::Attach(token) } else { Held::Open(token) };
        let session = devices::open(Opening { endpoints: endpoints.into(), credential, settings, lease })
            .map_err(|failure| raise(py, failure))?;
        Ok(Opened { session })
    }

    /// Of its device.
    #[getter]
    pub(super) fn index(&self) -> i32 {
        self.session.index
    }

    /// ("Open" | "Reconnecting" | "Ended", reason, message).
    fn state(&self) -> (&'static str, String, String) {
        state(self.session)
    }

    /// Counts of the session, and of this process.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats(py, self.session)
    }

    /// Ends it; `goodbye` tells the executor that the lease is over. Safe to repeat. Waits for the end, 3 s at most. BLOCKING.
    fn close(&self, py: Python<'_>, goodbye: bool) {
        close(py, self.session, goodbye);
    }

    /// Ends it without a word to the executor: its tensors raise RemoteLost with this reason from now on. Does not wait.
    fn lose(&self, reason: String, message: String) {
        self.session.tell(Order::Abandon(Ending { reason, message }));
    }
}

fn endpoint(fields: &HashMap<String, String>) -> PyResult<Endpoint> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let tls = match field("tls") {
        "" => "none",
        tls => tls,
    };
    Endpoint::parse(field("kind"), field("address"), tls).map_err(|error| PyValueError::new_err(error.to_string()))
}

pub(super) fn close(py: Python<'_>, session: &'static Session, goodbye: bool) {
    if !session.open() || runtime::forked() {
        return;
    }
    if goodbye {
        session.tell(Order::Goodbye);
    } else {
        let message = "the session was closed by this process".to_owned();
        session.tell(Order::Abandon(Ending { reason: "Closed".to_owned(), message }));
    }
    py.detach(|| devices::wait_for_end(session, CLOSING));
}

pub(super) fn state(session: &Session) -> (&'static str, String, String) {
    match session.ending() {
        Some(ending) => ("Ended", ending.reason.clone(), ending.message.clone()),
        None if session.connected.load(Ordering::Relaxed) => ("Open", String::new(), String::new()),
        None => ("Reconnecting", String::new(), String::new()),
    }
}

pub(super) fn stats<'py>(py: Python<'py>, session: &Session) -> PyResult<Bound<'py, PyDict>> {
    let mut counters = raw::Counters::default();
    // SAFETY: a structure of ours to write to.
    unsafe { raw::trd_counters_read(&raw mut counters) };
    let (operators, live, bytes, peak) = {
        let outgoing = session.lock();
        (outgoing.operators, outgoing.storages.count(), outgoing.storages.bytes, outgoing.storages.peak)
    };
    let memory = session.limits.get().map_or(0, |limits| limits.memory_bytes);
    let found = PyDict::new(py);
    for (name, value) in [
        ("ops", operators),
        ("syncs", session.counts.syncs.load(Ordering::Relaxed)),
        ("bytes_sent", session.meter.sent.load(Ordering::Relaxed)),
        ("bytes_received", session.meter.received.load(Ordering::Relaxed)),
        ("batches", session.counts.batches.load(Ordering::Relaxed)),
        ("live_storages", live),
        ("live_bytes", bytes),
        ("peak_bytes", peak),
        ("memory_bytes", memory),
        ("reconnects", session.counts.reconnects.load(Ordering::Relaxed)),
        ("round_trip_us", session.counts.round_trip_us.load(Ordering::Relaxed).unsigned_abs()),
        ("cache_hits", counters.hits),
        ("cache_misses", counters.misses),
        ("cache_entries", counters.cache_entries),
        ("python_metas", counters.python_metas),
        ("calls_now", counters.calls_now),
        ("uncached", counters.uncached),
        ("reads", counters.reads),
        ("writes", counters.writes),
    ] {
        found.set_item(name, value)?;
    }
    Ok(found)
}
