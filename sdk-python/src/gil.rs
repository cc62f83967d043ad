//! Waiting without the GIL, and seeing Ctrl-C meanwhile.

use std::time::Duration;

use pyo3::ffi;

use crate::failure::Failure;
use crate::raw::PyGILState_Check;

/// How often a wait looks for signals.
pub(crate) const GLANCE: Duration = Duration::from_millis(100);

/// The GIL, released if the calling thread held it; taken again when dropped.
pub(crate) struct Released(*mut ffi::PyThreadState);

impl Released {
    /// Releases it if held.
    pub(crate) fn now() -> Self {
        // SAFETY: both functions may be called from any thread of an initialised interpreter; SaveThread only with the GIL held, which was just asked.
        Released(unsafe { if PyGILState_Check() == 1 { ffi::PyEval_SaveThread() } else { std::ptr::null_mut() } })
    }

    /// Runs pending signal handlers, if this is the main thread.
    ///
    /// # Errors
    /// A handler raised: the exception is set in this thread.
    pub(crate) fn glance(&self) -> Result<(), Failure> {
        if !main_thread() {
            return Ok(());
        }
        // SAFETY: the thread has a thread state (it is the interpreter's main thread) and does not hold the GIL; Ensure and Release come in pairs.
        let raised = unsafe {
            let state = ffi::PyGILState_Ensure();
            let raised = ffi::PyErr_CheckSignals();
            ffi::PyGILState_Release(state);
            raised
        };
        if raised == 0 { Ok(()) } else { Err(Failure::interrupted()) }
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the state came from PyEval_SaveThread in this thread.
            unsafe { ffi::PyEval_RestoreThread(self.0) };
        }
    }
}

/// Only there do Python's signal handlers run.
fn main_thread() -> bool {
    // SAFETY: neither call has conditions.
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}
