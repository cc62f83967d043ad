//! A pause of some 10 µs for the writer, during which operators gather without waking anybody. Tokio's own timer knows only milliseconds.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

/// How long operators gather while they keep coming.
const NAP: Duration = Duration::from_micros(100);

/// A timer that is running or not.
pub(crate) struct Nap {
    timer: AsyncFd<OwnedFd>,
    running: bool,
}

impl Nap {
    /// Not running. In a runtime with IO.
    pub(crate) fn new() -> Self {
        // SAFETY: no conditions; the result is checked.
        let descriptor = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        assert!(descriptor >= 0, "the system has no timer left: {}", std::io::Error::last_os_error());
        // SAFETY: a fresh descriptor that nobody else owns.
        let timer = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // SAFETY: the AsyncFd owns the descriptor: it stays open, and the same, until it is dropped.
        let timer = unsafe { AsyncFd::register(timer) };
        Nap { timer: timer.expect("a timer can be polled"), running: false }
    }

    /// Runs from now.
    pub(crate) fn start(mut self: Pin<&mut Self>) {
        self.running = true;
        self.arm(NAP);
    }

    fn arm(&self, after: Duration) {
        let value = libc::timespec { tv_sec: 0, tv_nsec: after.as_nanos() as libc::c_long };
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = libc::itimerspec { it_interval: none, it_value: value };
        // SAFETY: the descriptor is ours, the structure is whole, the old setting is not asked for.
        let result =
            unsafe { libc::timerfd_settime(self.timer.as_raw_fd(), 0, &raw const setting, std::ptr::null_mut()) };
        assert_eq!(result, 0, "a timer of ours can be set");
    }

    /// Ends when the nap is over; never, if none runs. Cancel safe.
    pub(crate) async fn over(mut self: Pin<&mut Self>) {
        if !self.running {
            return std::future::pending().await;
        }
        let mut guard = self.timer.readable().await.expect("the runtime lives");
        let mut ticks = [0u8; 8];
        // SAFETY: eight bytes of ours to write to; the descriptor is ours and does not block.
        unsafe { libc::read(self.timer.as_raw_fd(), ticks.as_mut_ptr().cast(), ticks.len()) };
        guard.clear_ready();
        drop(guard);
        self.running = false;
    }
}
