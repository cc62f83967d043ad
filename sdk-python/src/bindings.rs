//! What Python calls: opening and closing sessions, counts, and thin forms of the device's functions.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::OnceLock;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::devices;
use crate::failure::{self, Failure};
use crate::session::{Order, Session};
use crate::{driver, notice, raw, runtime};

mod opened;

pub(crate) use opened::Opened;

/// Adds everything to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Opened>()?;
    for function in [
        wrap_pyfunction!(register_device, module)?,
        wrap_pyfunction!(open_session, module)?,
        wrap_pyfunction!(close_session, module)?,
        wrap_pyfunction!(device_state, module)?,
        wrap_pyfunction!(stats, module)?,
        wrap_pyfunction!(reset_peak, module)?,
        wrap_pyfunction!(misses, module)?,
        wrap_pyfunction!(reset_counters, module)?,
        wrap_pyfunction!(on_notice, module)?,
        wrap_pyfunction!(label, module)?,
        wrap_pyfunction!(device_count, module)?,
        wrap_pyfunction!(current_device, module)?,
        wrap_pyfunction!(set_device, module)?,
        wrap_pyfunction!(restore_device, module)?,
        wrap_pyfunction!(leased_devices, module)?,
        wrap_pyfunction!(default_generator, module)?,
        wrap_pyfunction!(synchronize, module)?,
        wrap_pyfunction!(set_launch_blocking, module)?,
        wrap_pyfunction!(cut, module)?,
        wrap_pyfunction!(time_calls, module)?,
        wrap_pyfunction!(forked, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}

/// Registers the device's kernels, allocator, guard and hooks with PyTorch. Once.
#[pyfunction]
#[pyo3(name = "register")]
fn register_device(py: Python<'_>, remote_lost: Py<PyAny>, no_lease: Py<PyAny>) -> PyResult<()> {
    // SAFETY: both are classes; C++ keeps them alive with references of its own. The GIL is held.
    unsafe { raw::trd_set_exceptions(remote_lost.as_ptr().cast(), no_lease.as_ptr().cast()) };
    // A second call finds the same classes: nothing to keep.
    CLASSES.get_or_init(|| (remote_lost, no_lease));
    runtime::watch_fork();
    // SAFETY: the GIL is held; called once, at import.
    if unsafe { raw::trd_register() } != 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(())
}

/// Opens a session as [`Opened`] does, for code that knows devices by their index alone; returns the index. BLOCKING.
#[expect(clippy::too_many_arguments, reason = "keywords of a Python call")]
#[pyfunction]
#[pyo3(signature = (endpoints, token, attach, uid, lease, *, reconnect_window=None, open_timeout=None))]
fn open_session(
    py: Python<'_>,
    endpoints: Vec<HashMap<String, String>>,
    token: String,
    attach: bool,
    uid: String,
    lease: String,
    reconnect_window: Option<f64>,
    open_timeout: Option<f64>,
) -> PyResult<i32> {
    Opened::open(py, endpoints, token, attach, uid, lease, reconnect_window, open_timeout).map(|opened| opened.index())
}

/// Ends whatever session stands behind the index now. Safe to repeat. Waits for the end, 3 s at most. BLOCKING.
#[pyfunction]
fn close_session(py: Python<'_>, device: i32, goodbye: bool) {
    if let Some(session) = devices::session(device) {
        opened::close(py, session, goodbye);
    }
}

/// How the session behind the index stands now: ("Open" | "Reconnecting" | "Ended", reason, message).
#[pyfunction]
fn device_state(device: i32) -> (&'static str, String, String) {
    devices::session(device).map_or_else(
        || ("Ended", "NoLease".to_owned(), "no session was opened behind this index".to_owned()),
        opened::state,
    )
}

/// Counts of the session behind the index now, and of this process. Raises NoLease.
#[pyfunction]
fn stats<'py>(py: Python<'py>, device: i32) -> PyResult<Bound<'py, PyDict>> {
    opened::stats(py, existing(py, device)?)
}

/// The peak of live bytes counts from now.
#[pyfunction]
fn reset_peak(py: Python<'_>, device: i32) -> PyResult<()> {
    let session = existing(py, device)?;
    let mut outgoing = session.lock();
    outgoing.storages.peak = outgoing.storages.bytes;
    Ok(())
}

/// {operator: (misses, Python metas, calls that waited)} since the last reset.
#[pyfunction]
fn misses() -> HashMap<String, (u64, u64, u64)> {
    extern "C" fn each(context: *mut c_void, name: *const c_char, misses: u64, metas: u64, calls_now: u64) {
        // SAFETY: the context is the map below, and C++ hands a text that ends with NUL.
        let (found, name) = unsafe { (&mut *context.cast::<HashMap<String, (u64, u64, u64)>>(), CStr::from_ptr(name)) };
        found.insert(name.to_string_lossy().into_owned(), (misses, metas, calls_now));
    }
    let mut found = HashMap::new();
    // SAFETY: the map outlives the call.
    unsafe { raw::trd_misses_read(each, (&raw mut found).cast()) };
    found
}

/// Starts the counts of hits and misses anew.
#[pyfunction]
fn reset_counters() {
    // SAFETY: no conditions.
    unsafe { raw::trd_counters_reset() };
}

/// `callback(device, reason, message)` is called from another thread for each notice of an agent.
#[pyfunction]
fn on_notice(callback: Py<PyAny>) -> PyResult<()> {
    notice::call(callback)
        .map_err(|error| PyRuntimeError::new_err(format!("no thread for notices can be started: {error}")))
}

/// Names the tensor's storage for `kubectl get tensors`.
#[pyfunction]
fn label(py: Python<'_>, tensor: Bound<'_, PyAny>, name: String) -> PyResult<()> {
    let name = CString::new(name).map_err(|_| PyValueError::new_err("a label has no NUL"))?;
    // SAFETY: the GIL is held, the tensor is borrowed for the call, the name ends with NUL.
    if unsafe { raw::trd_label(tensor.as_ptr().cast(), name.as_ptr()) } != 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
}

#[pyfunction]
fn device_count() -> usize {
    devices::count()
}

#[pyfunction]
fn current_device() -> i32 {
    // SAFETY: no conditions.
    unsafe { raw::trd_current_device() }
}

/// Makes a device with an open session the one this thread means; returns what it had set before, -1 for none.
#[pyfunction]
fn set_device(py: Python<'_>, device: i32) -> PyResult<i32> {
    if !(0..devices::DEVICES as i32).contains(&device) {
        let message = format!("remote: invalid device index {device}; indices are 0 to {}", devices::DEVICES - 1);
        return Err(PyRuntimeError::new_err(message));
    }
    devices::open_session(device).map_err(|failure| raise(py, failure))?;
    Ok(restore_device(device))
}

/// Puts back what [`set_device`] returned, leased or not; returns what was set until now.
#[pyfunction]
fn restore_device(device: i32) -> i32 {
    // SAFETY: no conditions.
    unsafe { raw::trd_exchange_device(device) }
}

/// Indexes with an open session.
#[pyfunction]
fn leased_devices() -> Vec<i32> {
    devices::leased()
}

#[pyfunction]
fn default_generator(py: Python<'_>, device: i32) -> PyResult<Py<PyAny>> {
    // SAFETY: the GIL is held; the result is a new reference, or NULL with an error set.
    unsafe { Bound::from_owned_ptr_or_err(py, raw::trd_default_generator(device).cast()).map(Bound::unbind) }
}

/// Waits until everything issued has run; raises the first failure not raised yet. BLOCKING.
#[pyfunction]
fn synchronize(py: Python<'_>, device: i32) -> PyResult<()> {
    if driver::tr_synchronize(device) == raw::OK { Ok(()) } else { Err(last(py)) }
}

/// TORCH_REMOTE_LAUNCH_BLOCKING: each operator waits and raises where it is called.
#[pyfunction]
fn set_launch_blocking(on: bool) {
    // SAFETY: no conditions.
    unsafe { raw::trd_set_blocking(i32::from(on)) };
}

/// Tests only: the session's connection breaks after so many bytes more, 0 = now.
#[pyfunction]
#[pyo3(name = "_cut", signature = (device, after_bytes=0))]
fn cut(py: Python<'_>, device: i32, after_bytes: i64) -> PyResult<()> {
    existing(py, device)?.tell(Order::Cut(after_bytes));
    Ok(())
}

/// Benchmarks only: nanoseconds that issuing one operator of two tensors and one result costs in Rust, and dropping its result.
#[pyfunction]
#[pyo3(name = "_time_calls")]
fn time_calls(calls: u32) -> f64 {
    crate::submit::time_calls(calls)
}

/// Whether this process was made by fork from one with leases.
#[pyfunction]
fn forked() -> bool {
    runtime::forked()
}

fn existing(py: Python<'_>, device: i32) -> PyResult<&'static Session> {
    devices::session(device).ok_or_else(|| raise(py, Failure::no_lease()))
}

fn last(py: Python<'_>) -> PyErr {
    let error = failure::last();
    // SAFETY: the text of the thread's last error lives until its next one.
    let message = unsafe { CStr::from_ptr(error.message) }.to_string_lossy().into_owned();
    raise(py, Failure { class: error.error_class, message })
}

/// The Python exception of a failure; one that is set already is taken as it is.
fn raise(py: Python<'_>, failure: Failure) -> PyErr {
    let class = |class: Option<&Py<PyAny>>| class.and_then(|class| class.bind(py).cast::<PyType>().ok().cloned());
    let classes = CLASSES.get();
    let custom = match failure.class {
        failure::INTERRUPTED => return PyErr::fetch(py),
        failure::REMOTE_LOST => class(classes.map(|(lost, _)| lost)),
        failure::NO_LEASE => class(classes.map(|(_, none)| none)),
        _ => None,
    };
    match custom {
        Some(custom) => PyErr::from_type(custom, failure.message),
        None if failure.class == failure::VALUE => PyValueError::new_err(failure.message),
        None => failure::operator_class(py, failure.class).map_or_else(
            || PyRuntimeError::new_err(failure.message.clone()),
            |class| PyErr::from_type(class, failure.message.clone()),
        ),
    }
}

/// RemoteLost and NoLease, as handed over at import.
static CLASSES: OnceLock<(Py<PyAny>, Py<PyAny>)> = OnceLock::new();
