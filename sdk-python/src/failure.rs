//! What a driver call can fail with, and the calling thread's last error.

use std::cell::RefCell;
use std::ffi::{CString, c_char};

use pyo3::prelude::*;
use pyo3::types::PyType;
use torch_remote_proto::client::Ending;
use torch_remote_proto::v1;

use crate::raw;

/// `tr_error_class` of driver.h.
pub(crate) const RUNTIME: i32 = 1;
pub(crate) const VALUE: i32 = 3;
pub(crate) const REMOTE_LOST: i32 = 20;
pub(crate) const NO_LEASE: i32 = 21;
pub(crate) const INTERRUPTED: i32 = 22;

/// Class and text of an exception to raise in Python.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub class: i32,
    pub message: String,
}

impl Failure {
    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Failure { class: RUNTIME, message: message.into() }
    }

    pub(crate) fn value(message: impl Into<String>) -> Self {
        Failure { class: VALUE, message: message.into() }
    }

    /// There never was a session behind this index.
    pub(crate) fn no_lease() -> Self {
        let message = "there is no leased device: call torch_remote.lease(gpu=...), or set TORCH_REMOTE_GPU to lease at first use";
        Failure { class: NO_LEASE, message: message.to_owned() }
    }

    /// The session behind this index is over.
    pub(crate) fn lost(device: i32, ending: &Ending) -> Self {
        let message = format!(
            "the session of remote:{device} is over ({}): {}; its tensors are gone: call torch_remote.lease(...) for a new one",
            ending.reason, ending.message
        );
        Failure { class: REMOTE_LOST, message }
    }

    /// A tensor of an earlier session behind the same index.
    pub(crate) fn of_earlier_session(device: i32) -> Self {
        let message = format!(
            "the tensor belongs to an earlier session of remote:{device}, which is over, and is gone with it: make it again on the new lease"
        );
        Failure { class: REMOTE_LOST, message }
    }

    /// An event of an earlier session behind the same index.
    pub(crate) fn event_of_earlier_session(device: i32) -> Self {
        let message = format!(
            "the event was recorded in an earlier session of remote:{device}, which is over: record it again on the new lease"
        );
        Failure { class: REMOTE_LOST, message }
    }

    /// A Python exception is set already.
    pub(crate) fn interrupted() -> Self {
        Failure { class: INTERRUPTED, message: "interrupted".to_owned() }
    }

    /// This process was made by fork.
    pub(crate) fn forked() -> Self {
        Failure::runtime(
            "a lease cannot be used in a process made by fork: make it with multiprocessing's 'spawn', and lease there",
        )
    }

    /// An operator failed on the machine: PyTorch's own class and text, then where.
    pub(crate) fn of_operator(device: i32, failure: &v1::Failure) -> Self {
        let class = if failure.class == 0 { RUNTIME } else { failure.class };
        let message = if failure.operator.is_empty() {
            format!("{} (on remote:{device})", failure.message)
        } else {
            format!("{} ({} on remote:{device})", failure.message, failure.operator)
        };
        Failure { class, message }
    }
}

/// PyTorch's own class for an operator's failure, where it is neither RuntimeError nor ValueError.
pub(crate) fn operator_class<'py>(py: Python<'py>, class: i32) -> Option<Bound<'py, PyType>> {
    let (module, name) = match class {
        2 => ("builtins", "IndexError"),
        4 => ("builtins", "TypeError"),
        5 => ("builtins", "NotImplementedError"),
        6 => ("torch", "OutOfMemoryError"),
        7 => ("torch.linalg", "LinAlgError"),
        _ => return None,
    };
    py.import(module).ok()?.getattr(name).ok()?.cast_into().ok()
}

thread_local! {
    static LAST: RefCell<(i32, CString)> = RefCell::new((RUNTIME, CString::default()));
}

/// Remembers the failure as the calling thread's last error.
pub(crate) fn remember(failure: Failure) {
    let text = failure.message.replace('\0', " ");
    let text = CString::new(text).expect("no NUL is left in the text");
    LAST.with_borrow_mut(|last| *last = (failure.class, text));
}

/// The calling thread's last error; the text lives until the next one.
pub(crate) fn last() -> raw::Error {
    LAST.with_borrow(|(class, text)| raw::Error { error_class: *class, message: text.as_ptr().cast::<c_char>() })
}
