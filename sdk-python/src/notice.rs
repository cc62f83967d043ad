//! Notices of agents, handed to Python on a thread of their own: the conversation must never wait for the GIL.

use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use torch_remote_proto::v1::Notice;

static SHOWN_BY: Mutex<Option<Sender<(i32, Notice)>>> = Mutex::new(None);

/// From now on `callback(device, reason, message)` is called for each notice.
pub(crate) fn call(callback: Py<PyAny>) -> std::io::Result<()> {
    let (sender, receiver) = mpsc::channel::<(i32, Notice)>();
    std::thread::Builder::new().name("torch-remote-notices".to_owned()).spawn(move || {
        for (device, notice) in receiver {
            // None: the interpreter is going down, and nobody would read it.
            Python::try_attach(|py| {
                if let Err(error) = callback.call1(py, (device, notice.reason, notice.message)) {
                    error.write_unraisable(py, None);
                }
            });
        }
    })?;
    *SHOWN_BY.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    Ok(())
}

/// Hands a notice over; without a callback it is dropped.
pub(crate) fn show(device: i32, notice: Notice) {
    if let Some(sender) = &*SHOWN_BY.lock().unwrap_or_else(PoisonError::into_inner) {
        // The receiver lives as long as the process, but for a thread that could not go on; then nobody is there to be told.
        drop(sender.send((device, notice)));
    }
}
