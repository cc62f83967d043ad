//! The control path: REST calls to the API server for leases, machines and tokens, as the user that the kubeconfig or `TORCH_REMOTE_*` names.
//!
//! Owns where the control plane is, how it is trusted, and the waiting (deadlines, retries, Ctrl-C). Leaves to `_acquisition.py` what is asked and what an answer
//! means, and to `session` all that travels to the executor. Invariant: no call is made before Python asks for one, and none holds the GIL while it waits.

mod background;
mod config;
mod connection;
mod error;
mod exec;
mod renewal;
mod trace;
mod vigil;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use pyo3::prelude::*;

use crate::bindings::Opened;
use connection::{Connection, Question};
use renewal::Renewal;
use trace::Trace;
use vigil::Vigil;

/// The user's control plane.
#[pyclass(frozen, module = "torch_remote._C")]
pub struct ControlPlane {
    connection: Arc<Connection>,
}

#[pymethods]
impl ControlPlane {
    /// Reads the settings; makes no call.
    #[new]
    #[pyo3(signature = (namespace=None))]
    fn new(py: Python<'_>, namespace: Option<String>) -> PyResult<Self> {
        let connection = Connection::open(namespace).map_err(|error| error.raise(py))?;
        Ok(Self { connection: Arc::new(connection) })
    }

    /// URL of the API server.
    #[getter]
    fn server(&self) -> String {
        self.connection.server.clone()
    }

    /// Where the address comes from: a file or a variable.
    #[getter]
    fn source(&self) -> String {
        self.connection.source.clone()
    }

    /// Namespace of names without one.
    #[getter]
    fn namespace(&self) -> String {
        self.connection.namespace.clone()
    }

    /// One call; returns the answer's JSON. BLOCKING, at most `seconds`.
    #[pyo3(signature = (method, path, body=None, *, seconds=30.0, traceparent=None))]
    fn request(
        &self,
        py: Python<'_>,
        method: &str,
        path: String,
        body: Option<String>,
        seconds: f64,
        traceparent: Option<String>,
    ) -> PyResult<String> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
        let question = Question { method, path, body: body.unwrap_or_default().into_bytes(), traceparent };
        let connection = self.connection.clone();
        let deadline = Duration::from_secs_f64(seconds);
        wait::one(py, async move { connection.ask(&question, deadline).await })
    }

    /// Follows one object: calls `seen(json)` with its present state and after each change, until that returns true or `seconds` have passed (None: for ever).
    /// True when `seen` ended it. An object that is gone is seen as the text `null`. Outages shorter than a minute are waited out. BLOCKING.
    #[pyo3(signature = (collection, name, seen, *, seconds=None))]
    fn follow(
        &self,
        py: Python<'_>,
        collection: String,
        name: String,
        seen: Bound<'_, PyAny>,
        seconds: Option<f64>,
    ) -> PyResult<bool> {
        let connection = self.connection.clone();
        wait::stream(py, seconds.map(Duration::from_secs_f64), &seen, |sender| async move {
            connection.follow(&collection, &name, sender).await
        })
    }

    /// Posts an empty body to `path` every `seconds` in the background until the result is stopped or the server says that the object is gone.
    fn keep_renewing(&self, path: String, seconds: f64) -> Renewal {
        Renewal::start(self.connection.clone(), path, Duration::from_secs_f64(seconds))
    }

    /// Watches an open lease in the background: ends those of its sessions that are not connected when the lease is over.
    fn keep_vigil(&self, collection: String, name: String, uid: String, sessions: Vec<PyRef<'_, Opened>>) -> Vigil {
        let sessions = sessions.iter().map(|opened| opened.session).collect();
        Vigil::start(self.connection.clone(), collection, name, uid, sessions)
    }
}

/// Adds this module's classes to `torch_remote._C`.
///
/// # Errors
/// What Python raises when a name cannot be added.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ControlPlane>()?;
    module.add_class::<Renewal>()?;
    module.add_class::<Vigil>()?;
    module.add_class::<Trace>()
}
