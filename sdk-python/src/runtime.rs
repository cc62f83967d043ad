//! Two threads: one speaks with executors, one carries bulk bytes. And fork: a child has neither.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Builder, Handle};

use crate::failure::Failure;

static FORKED: AtomicBool = AtomicBool::new(false);

/// The runtime of conversations.
pub(crate) fn conversations() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| start("torch-remote-io"))
}

/// The runtime of bulk transfers.
pub(crate) fn transfers() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| start("torch-remote-bulk"))
}

fn start(name: &str) -> Handle {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime needs a few descriptors");
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .expect("a thread can be started");
    handle
}

/// Whether this process was made by fork from one that had registered the device.
#[inline]
pub(crate) fn forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Refuses in a forked child: its threads are gone, and its locks may be held by them.
#[inline]
pub(crate) fn refuse_fork() -> Result<(), Failure> {
    if forked() { Err(Failure::forked()) } else { Ok(()) }
}

/// Marks children made by fork from now on.
pub(crate) fn watch_fork() {
    extern "C" fn in_child() {
        FORKED.store(true, Ordering::Relaxed);
    }
    // SAFETY: the function lives for the whole process and only stores to an atomic, which is allowed after fork.
    let result = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    assert_eq!(result, 0, "there is memory for one more fork handler");
}
