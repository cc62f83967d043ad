//! From an endpoint of a slot to an HTTP/2 connection that is trusted.
//!
//! Owns sockets, TLS and their settings. Leaves what is said to `conversation` and `bulk`. Invariant: nothing is sent to a peer whose key does not fit the
//! endpoint; plaintext goes only where the endpoint says `none`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::Channel;
use torch_remote_proto::client::Loss;

mod trust;

pub(crate) use trust::Trust;

/// Windows for 1 Gbit/s at 100 ms, as on the agent's side.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;
const FRAME: u32 = 1 << 20;

/// Where an executor listens, and how to trust it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub address: Address,
    pub trust: Trust,
}

/// A socket's address.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    /// A path.
    Unix(String),
    /// host:port.
    Tcp(String),
}

/// An endpoint in words nobody knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error(
        "the endpoint's kind {0:?} is unknown: this SDK knows unix and tcp; install the control plane's version of torch-remote"
    )]
    Kind(String),
    #[error(
        "the endpoint's trust {0:?} is unknown: this SDK knows none, system, spkiSHA256 and caBundle; install the control plane's version of torch-remote"
    )]
    Trust(String),
    #[error("the endpoint's trust cannot be used: {0}")]
    Key(String),
    #[error("the endpoint {0:?} is no host:port")]
    Address(String),
}

impl Endpoint {
    /// From the fields of a lease's `status.devices[].endpoints[]`.
    pub(crate) fn parse(kind: &str, address: &str, tls: &str) -> Result<Self, Unusable> {
        let address = match kind {
            "unix" => Address::Unix(address.to_owned()),
            "tcp" if address.rsplit_once(':').is_some() => Address::Tcp(address.to_owned()),
            "tcp" => return Err(Unusable::Address(address.to_owned())),
            other => return Err(Unusable::Kind(other.to_owned())),
        };
        let host = match &address {
            Address::Unix(_) => "localhost",
            Address::Tcp(address) => address.rsplit_once(':').map_or("", |(host, _)| host),
        };
        Ok(Endpoint { trust: Trust::parse(tls, host)?, address })
    }
}

/// Counts what passes, and can be told to break.
#[derive(Debug)]
pub(crate) struct Meter {
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// Bytes that may still pass; tests set it to break the connection.
    pub budget: AtomicI64,
}

impl Default for Meter {
    fn default() -> Self {
        Meter { sent: AtomicU64::new(0), received: AtomicU64::new(0), budget: AtomicI64::new(i64::MAX) }
    }
}

/// Connects to the first endpoint that answers.
///
/// # Errors
/// [`Loss::NobodyListens`] if every endpoint is a Unix socket that says so, else [`Loss::Broken`] with each one's reason.
pub(crate) async fn connect(endpoints: &[Endpoint], meter: &Arc<Meter>) -> Result<Channel, Loss> {
    let mut reasons = Vec::new();
    let mut nobody = !endpoints.is_empty();
    for endpoint in endpoints {
        match open(endpoint, meter).await {
            Ok(channel) => return Ok(channel),
            Err((reason, refused)) => {
                nobody &= refused;
                reasons.push(reason);
            }
        }
    }
    let reasons = reasons.join("; ");
    Err(if nobody { Loss::NobodyListens(reasons) } else { Loss::Broken(reasons) })
}

async fn open(endpoint: &Endpoint, meter: &Arc<Meter>) -> Result<Channel, (String, bool)> {
    let socket = dial(&endpoint.address).await.map_err(|error| {
        // Only a Unix socket answers for the agent itself: a port's refusal may be a firewall's, or a relay's that starts again.
        let here = matches!(endpoint.address, Address::Unix(_));
        let refused = here && matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
        (format!("{}: {error}", endpoint.address), refused)
    })?;
    let secured =
        endpoint.trust.secure(socket).await.map_err(|error| (format!("{}: {error}", endpoint.address), false))?;
    let metered = Metered { inner: secured, meter: meter.clone() };
    let mut once = Some(TokioIo::new(metered));
    let connector = tower::service_fn(move |_| {
        let taken = once.take().ok_or_else(|| io::Error::other("a connection is made once"));
        async move { taken }
    });
    tonic::transport::Endpoint::from_static("http://executor")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .connect_with_connector(connector)
        .await
        .map_err(|error| (format!("{}: {error}", endpoint.address), false))
}

async fn dial(address: &Address) -> io::Result<Socket> {
    match address {
        Address::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address.as_str()).await?;
            stream.set_nodelay(true)?;
            Ok(Socket::Tcp(stream))
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{path}"),
            Address::Tcp(address) => f.write_str(address),
        }
    }
}

/// A connected socket, with TLS or without.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<Socket>>),
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buffer),
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buffer),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buffer),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Socket::Unix(stream) => stream.is_write_vectored(),
            Socket::Tcp(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        }
    }
}

/// A socket behind a [`Meter`].
#[derive(Debug)]
struct Metered {
    inner: Socket,
    meter: Arc<Meter>,
}

impl Metered {
    fn spend(&self, bytes: usize) -> io::Result<()> {
        if self.meter.budget.fetch_sub(bytes as i64, Ordering::Relaxed) <= 0 {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut by a test"));
        }
        Ok(())
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = result {
            self.meter.sent.fetch_add(*count as u64, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        this.meter.received.fetch_add(count as u64, Ordering::Relaxed);
        this.spend(count)?;
        result
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.spend(buffer.len())?;
        let result = Pin::new(&mut this.inner).poll_write(cx, buffer);
        this.wrote(&result);
        result
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.spend(buffers.iter().map(|buffer| buffer.len()).sum())?;
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, buffers);
        this.wrote(&result);
        result
    }
}
