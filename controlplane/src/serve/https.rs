//! The HTTPS listener: TLS, HTTP/1.1 and HTTP/2, limits, and an end that lets running requests finish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Longest time from connecting to the end of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest time for a request's headers.
const HEADERS: Duration = Duration::from_secs(10);
/// HTTP/2 pings at this interval, and a connection that does not answer ends.
const PING: Duration = Duration::from_secs(30);
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// Pause after a failed accept (out of descriptors), so as not to spin.
const BREATHE: Duration = Duration::from_millis(100);

/// What a listener serves, and within which limits.
pub struct Https {
    /// Certificates and protocols.
    pub tls: Arc<ServerConfig>,
    /// The API.
    pub router: Router,
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// How long running requests may take to finish at the end.
    pub drain: Duration,
}

impl Https {
    /// Serves until `stop`, then takes no new requests and waits for the running ones, at most `drain`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.connections));
        let acceptor = TlsAcceptor::from(self.tls);
        let tracker = TaskTracker::new();
        let abandon = CancellationToken::new();
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&permits).acquire_owned() => permit.expect("the semaphore is never closed"),
            };
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(BREATHE).await;
                        continue;
                    }
                },
            };
            let connection = Connection { peer, stop: stop.clone(), abandon: abandon.clone(), _permit: permit };
            tracker.spawn(connection.serve(stream, acceptor.clone(), self.router.clone()));
        }
        drop(listener);
        tracker.close();
        if tokio::time::timeout(self.drain, tracker.wait()).await.is_err() {
            tracing::debug!(connections = tracker.len(), "ending connections that did not drain");
            abandon.cancel();
            tracker.wait().await;
        }
    }
}

struct Connection {
    peer: SocketAddr,
    stop: CancellationToken,
    abandon: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, peer = %self.peer, "cannot set TCP_NODELAY");
        }
        let handshake = tokio::select! {
            () = self.stop.cancelled() => return,
            handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)) => handshake,
        };
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, peer = %self.peer, "TLS handshake failed"),
            Err(_) => return tracing::debug!(peer = %self.peer, "TLS handshake took too long"),
        };
        let peer = self.peer;
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS).keep_alive_interval(PING);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.abandon.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, peer = %self.peer, "connection ended");
        }
    }
}

#[cfg(test)]
mod tests;
