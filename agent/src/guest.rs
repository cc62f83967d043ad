//! A connection from another host that is closed unless its peer shows in time that it may be here.
//!
//! Owns that deadline. Leaves who may be here to the service, which says so through [`Admission`]. Invariant: a peer without a token keeps its place among the
//! connections for that long at most, whatever it sends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Whether the peer of a connection may be here.
#[derive(Debug, Clone, Default)]
pub struct Admission(Arc<AtomicBool>);

/// The connection. `P` is what it holds while it is open.
#[derive(Debug)]
pub struct Guest<S, P> {
    stream: S,
    admission: Admission,
    deadline: Pin<Box<Sleep>>,
    _place: P,
}

impl Admission {
    /// It may.
    pub fn give(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn given(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<S, P> Guest<S, P> {
    /// Admitted within a time from now, or closed. Needs a reactor.
    pub fn new(stream: S, place: P, within: Duration) -> Guest<S, P> {
        let deadline = Box::pin(tokio::time::sleep(within));
        Guest { stream, admission: Admission::default(), deadline, _place: place }
    }

    /// What carries it.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// For who judges the peer.
    pub fn admission(&self) -> Admission {
        self.admission.clone()
    }
}

impl<S: AsyncRead + Unpin, P: Unpin> AsyncRead for Guest<S, P> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guest = self.get_mut();
        if !guest.admission.given() && guest.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "it opened no session in time")));
        }
        Pin::new(&mut guest.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Guest<S, P> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::Guest;

    #[tokio::test]
    async fn a_guest_that_nobody_admits_is_shown_out_whether_it_speaks_or_not() {
        let (near, mut far) = duplex(64);
        let mut silent = Guest::new(near, (), Duration::from_millis(10));
        let error = silent.read_u8().await.expect_err("nobody said that it may be here");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        far.write_all(b"ping").await.expect("it is open");
        let error = silent.read_u8().await.expect_err("nor did it");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_guest_that_was_admitted_stays() {
        let (near, mut far) = duplex(64);
        let mut guest = Guest::new(near, (), Duration::ZERO);
        guest.admission().give();
        far.write_all(b"p").await.expect("it is open");
        assert_eq!(guest.read_u8().await.expect("its time was over"), b'p');
    }
}
