//! Listening sockets, and gRPC over them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tonic::transport::Server;
use torch_remote_api::agent::Listen;
use torch_remote_proto::v1::Endpoint;

use crate::guest::{Admission, Guest};

/// Receive window of a stream, bytes: 1.3 times a gigabit's bandwidth times 50 ms, twice.
const STREAM_WINDOW: u32 = 16 << 20;
/// Receive window of a connection, bytes.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// Largest HTTP/2 frame taken, bytes.
const FRAME: u32 = 1 << 20;

/// A socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}: free it, or give the agent another address")]
pub struct Error {
    /// Where.
    pub address: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// An open socket.
#[derive(Debug)]
pub enum Listening {
    /// On a path.
    Unix(std::os::unix::net::UnixListener),
    /// On an address.
    Tcp(std::net::TcpListener),
}

/// The same, accepting.
#[derive(Debug)]
pub enum Acceptor {
    /// On a path.
    Unix(UnixListener),
    /// On an address.
    Tcp(TcpListener),
}

/// An accepted connection.
#[derive(Debug)]
pub enum Connection {
    /// Same host.
    Unix(UnixStream),
    /// With nodelay.
    Tcp(TcpStream),
    /// From another host, with its place among the connections.
    Tls(Box<Guest<TlsStream<TcpStream>, OwnedSemaphorePermit>>),
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Whether it may be here; of this host everybody may.
    pub admission: Admission,
    /// Where it speaks from; a Unix socket does not say.
    pub address: Option<SocketAddr>,
}

impl Peer {
    /// Of the call's connection.
    pub fn of<T>(request: &tonic::Request<T>) -> Peer {
        request.extensions().get().cloned().unwrap_or_default()
    }
}

impl Listening {
    /// Opens a socket. A Unix socket left by a process that died is replaced; only its owner may connect.
    ///
    /// # Errors
    /// [`Error`]: in use, or not allowed.
    pub fn open(listen: &Listen) -> Result<Listening, Error> {
        match listen {
            Listen::Unix(path) => {
                open_unix(path).map(Listening::Unix).map_err(|source| Error { address: path.clone(), source })
            }
            Listen::Tcp(address) => {
                open_tcp(address).map(Listening::Tcp).map_err(|source| Error { address: address.clone(), source })
            }
        }
    }

    /// A second descriptor of it.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        match self {
            Listening::Unix(listener) => listener.try_clone().map(OwnedFd::from),
            Listening::Tcp(listener) => listener.try_clone().map(OwnedFd::from),
        }
    }

    /// How a client reaches it.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn endpoint(&self) -> io::Result<Endpoint> {
        let (kind, address) = match self {
            Listening::Unix(listener) => {
                let path = listener.local_addr()?.as_pathname().map(|path| path.to_string_lossy().into_owned());
                ("unix", path.ok_or_else(|| io::Error::other("the socket has no path"))?)
            }
            Listening::Tcp(listener) => ("tcp", listener.local_addr()?.to_string()),
        };
        Ok(Endpoint { kind: kind.to_owned(), address, tls: "none".to_owned() })
    }

    /// Accepts from here on.
    ///
    /// # Errors
    /// The reactor refuses it.
    pub fn accept(self) -> io::Result<Acceptor> {
        match self {
            Listening::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(Acceptor::Unix)
            }
            Listening::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Acceptor::Tcp)
            }
        }
    }
}

impl From<OwnedFd> for Listening {
    /// Of a listening socket inherited.
    fn from(descriptor: OwnedFd) -> Listening {
        let family = rustix::net::getsockname(&descriptor).map(|address| address.address_family());
        match family {
            Ok(rustix::net::AddressFamily::UNIX) => Listening::Unix(descriptor.into()),
            Ok(_) | Err(_) => Listening::Tcp(descriptor.into()),
        }
    }
}

impl Acceptor {
    /// Connections as a stream, for tonic.
    pub fn connections(self) -> impl futures::Stream<Item = io::Result<Connection>> {
        futures::stream::unfold(self, |acceptor| async move {
            let connection = acceptor.next().await;
            Some((connection, acceptor))
        })
    }

    async fn next(&self) -> io::Result<Connection> {
        match self {
            Acceptor::Unix(listener) => listener.accept().await.map(|(stream, _)| Connection::Unix(stream)),
            Acceptor::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Connection::Tcp(stream))
            }
        }
    }
}

/// A gRPC server with windows and frames for bulk bytes over long lines (`facts/agent-and-transport.md` §3 and §4).
pub fn grpc() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
}

/// These sockets speak no TLS of their own, so they are not reachable from another host.
fn open_tcp(address: &str) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    if listener.local_addr()?.ip().is_loopback() {
        return Ok(listener);
    }
    let why = "it is reachable from other hosts and would carry tensors and tokens in plaintext; use a Unix socket or a loopback address";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Of the other end: an IPv4 address as such, also where the socket is of both.
fn address(stream: &TcpStream) -> Option<SocketAddr> {
    let address = stream.peer_addr().ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

fn open_unix(path: &str) -> io::Result<std::os::unix::net::UnixListener> {
    if let Ok(there) = std::fs::symlink_metadata(path)
        && there.file_type().is_socket()
    {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl tonic::transport::server::Connected for Connection {
    /// Every call of the connection carries it.
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Self::ConnectInfo {
        match self {
            Connection::Unix(_) => Peer::default(),
            Connection::Tcp(stream) => Peer { address: address(stream), ..Peer::default() },
            Connection::Tls(guest) => {
                Peer { admission: guest.admission(), address: address(guest.stream().get_ref().0) }
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Connection::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Connection::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Connection::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Connection::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Connection::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Connection::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }
    fn is_write_vectored(&self) -> bool {
        match self {
            Connection::Unix(stream) => stream.is_write_vectored(),
            Connection::Tcp(stream) => stream.is_write_vectored(),
            Connection::Tls(stream) => stream.is_write_vectored(),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Connection::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Connection::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Connection::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Connection::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Listen, Listening};

    #[test]
    fn plaintext_is_served_on_loopback_only() {
        let open = |address: &str| Listening::open(&Listen::Tcp(address.to_owned()));
        let refused = open("0.0.0.0:0").expect_err("reachable from other hosts");
        assert!(refused.source.to_string().contains("plaintext"), "{}", refused.source);
        assert!(open("127.0.0.1:0").is_ok());
    }
}
