//! TCP that other hosts reach: TLS only, by a key made at the supervisor's start, which clients know by its pin.
//!
//! Owns the key pair, the socket of a slot beside its own, and its handshakes. Invariants: the key is in memory only and in no log; no byte of a client is read or
//! answered outside TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{Stream, StreamExt};
use rcgen::PublicKeyData;
use rustix::net::sockopt;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use torch_remote_proto::v1::Endpoint;

use crate::guest::Guest;
use crate::socket::{self, Acceptor, Connection};

/// For a client to prove nothing more than that it speaks TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For a session's hello to be accepted, or a bulk call to show the session's secret, after the handshake.
const ADMITTED: Duration = Duration::from_secs(20);
/// Handshakes at once; more wait.
const HANDSHAKES: usize = 64;
/// Connections at once; more wait, so that nobody takes all descriptors of a session's process.
const CONNECTIONS: usize = 256;
/// After a connection that cannot be accepted: descriptors are short.
const PAUSE: Duration = Duration::from_millis(100);
/// A quiet connection's host is asked after this whether it is there,
const QUIET: Duration = Duration::from_secs(600);
/// then again and again,
const PROBE: Duration = Duration::from_secs(60);
/// so often before it counts as gone. Together half an hour: a host that sleeps as long may come back.
const PROBES: u32 = 20;
/// HTTP/2, the only protocol spoken.
const ALPN: &[u8] = b"h2";

/// There is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No key pair.
    #[error("cannot make a key pair and its certificate")]
    Make(#[source] rcgen::Error),
    /// The pair does not fit.
    #[error("cannot serve TLS with the supervisor's key pair")]
    Serve(#[source] rustls::Error),
    /// The pair was garbled on its way.
    #[error("the supervisor's key pair is no base64")]
    Encoding(#[source] base64::DecodeError),
}

/// A key pair and its certificate. Goes from the supervisor to its executors over their links.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// DER, base64.
    certificate: String,
    /// PKCS#8, base64.
    key: String,
    /// SHA-256 of the SubjectPublicKeyInfo, base64.
    pin: String,
}

/// A socket of a slot beside its own.
#[derive(Debug)]
pub struct Public {
    listener: TcpListener,
    endpoint: Endpoint,
}

impl Identity {
    /// A new one. Its certificate names nobody: clients know the key by its pin.
    ///
    /// # Errors
    /// [`Error::Make`]
    pub fn make() -> Result<Identity, Error> {
        let key = rcgen::KeyPair::generate().map_err(Error::Make)?;
        let params = rcgen::CertificateParams::new(vec!["torch-remote-agent".to_owned()]).map_err(Error::Make)?;
        let certificate = params.self_signed(&key).map_err(Error::Make)?;
        Ok(Identity {
            certificate: STANDARD.encode(certificate.der()),
            key: STANDARD.encode(key.serialize_der()),
            pin: STANDARD.encode(Sha256::digest(key.subject_public_key_info())),
        })
    }

    /// Accepts on a socket of [`Public`]. Connections come when their handshake is over; those that fail at it, or take 10 s, never come.
    ///
    /// # Errors
    /// [`Error`]: the identity is not what [`Identity::make`] made.
    pub fn connections(
        &self,
        listener: tokio::net::TcpListener,
    ) -> Result<impl Stream<Item = io::Result<Connection>> + use<>, Error> {
        let acceptor = TlsAcceptor::from(Arc::new(self.server()?));
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let greeted = Acceptor::Tcp(listener)
            .connections()
            .map(move |accepted| greet(acceptor.clone(), Arc::clone(&room), accepted))
            .buffer_unordered(HANDSHAKES);
        Ok(greeted.filter_map(|greeted| async move {
            match greeted {
                Ok(connection) => Some(Ok(connection)),
                Err(error) => {
                    tracing::debug!(%error, "a connection from another host came to nothing");
                    None
                }
            }
        }))
    }

    fn server(&self) -> Result<rustls::ServerConfig, Error> {
        let certificate = CertificateDer::from(STANDARD.decode(&self.certificate).map_err(Error::Encoding)?);
        let key = PrivatePkcs8KeyDer::from(STANDARD.decode(&self.key).map_err(Error::Encoding)?);
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(Error::Serve)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))
            .map_err(Error::Serve)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl Public {
    /// Opens a socket on a free port: of the address itself where it is an IP address, of all where it is a name.
    ///
    /// # Errors
    /// [`socket::Error`]: no such address on this computer, or no host at all.
    pub fn open(address: &str, identity: &Identity) -> Result<Public, socket::Error> {
        let open = || {
            if ServerName::try_from(address).is_err() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no host name and no IP address"));
            }
            let listener = match address.parse::<IpAddr>() {
                Ok(ip) => TcpListener::bind((ip, 0))?,
                // Without IPv6 there is no address that takes both.
                Err(_) => TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))
                    .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))?,
            };
            let port = listener.local_addr()?.port();
            let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            let tls = format!("spkiSHA256:{}", identity.pin);
            Ok(Public {
                listener,
                endpoint: Endpoint { kind: "tcp".to_owned(), address: format!("{host}:{port}"), tls },
            })
        };
        open().map_err(|source| socket::Error { address: address.to_owned(), source })
    }

    /// How a client reaches it, and how it knows that it did.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// A second descriptor of it.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.listener.try_clone().map(OwnedFd::from)
    }
}

async fn greet(
    acceptor: TlsAcceptor,
    room: Arc<Semaphore>,
    accepted: io::Result<Connection>,
) -> io::Result<Connection> {
    let stream = match accepted {
        Ok(Connection::Tcp(stream)) => stream,
        Ok(_) => return Err(io::Error::other("it is not TCP")),
        Err(error) => {
            tokio::time::sleep(PAUSE).await;
            return Err(error);
        }
    };
    watch(&stream)?;
    let room = room.acquire_owned().await.map_err(io::Error::other)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not say that it speaks HTTP/2"));
    }
    Ok(Connection::Tls(Box::new(Guest::new(stream, room, ADMITTED))))
}

/// Has the kernel find out when the other host is gone. Not HTTP/2's pings, which a process that is only stopped for a while does not answer: its lease decides how
/// long it may be silent.
fn watch(stream: &tokio::net::TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, QUIET)?;
    sockopt::set_tcp_keepintvl(stream, PROBE)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Identity, Public};

    #[test]
    fn the_key_is_in_no_log() {
        let identity = Identity::make().expect("a key pair");
        let shown = format!("{identity:?}");
        assert!(!shown.contains(&identity.key) && shown.contains(&identity.pin), "{shown}");
        assert_ne!(identity.pin, Identity::make().expect("a key pair").pin, "each start has a key of its own");
    }

    #[test]
    fn an_endpoint_is_the_public_address_with_a_port_and_a_pin() {
        let identity = Identity::make().expect("a key pair");
        for (address, host) in [("127.0.0.1", "127.0.0.1"), ("gpu.example.org", "gpu.example.org")] {
            let public = Public::open(address, &identity).expect("a socket");
            let port = public.listener.local_addr().expect("an address").port();
            let endpoint = public.endpoint();
            assert_eq!((endpoint.kind.as_str(), endpoint.address), ("tcp", format!("{host}:{port}")));
            assert_eq!(endpoint.tls, format!("spkiSHA256:{}", identity.pin));
        }
        let refused = Public::open("no host", &identity).expect_err("nobody can reach it");
        assert!(refused.source.to_string().contains("no host name"), "{}", refused.source);
    }
}
