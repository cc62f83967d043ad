//! Calls to someone else's server, over TLS: with a deadline, a bound on the answer, no redirects, and to no address but the one that is written.
//!
//! Serves the control plane (keys of issuers) and the client (logging in). Plain HTTP goes to this machine alone.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest time for a whole call.
const DEADLINE: Duration = Duration::from_secs(5);
/// Largest answer taken, bytes.
const LARGEST: usize = 1024 * 1024;

/// Why a call had no answer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named by the texts")]
pub enum Error {
    #[error(
        "{url:?} is not an address that may be asked: it must begin with https:// (http:// for this machine alone)"
    )]
    Address { url: String },
    #[error("there is no certificate in the file of the authority")]
    NoCertificate,
    #[error("the certificates of this system cannot be read")]
    Roots,
    #[error("{host} cannot be reached")]
    Connect {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{host} does not speak HTTP as it should")]
    Http {
        host: String,
        #[source]
        source: hyper::Error,
    },
    #[error("the answer of {host} broke off or is larger than {LARGEST} bytes")]
    Answer { host: String },
    #[error("{host} did not answer within {} s", DEADLINE.as_secs())]
    Slow { host: String },
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub code: u16,
    /// All of it.
    pub body: Bytes,
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

/// Calls that trust one set of authorities. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    tls: TlsConnector,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbound")
    }
}

/// Takes an address apart.
///
/// # Errors
/// [`Error::Address`].
pub fn address(url: &str) -> Result<Address, Error> {
    let refused = || Error::Address { url: url.chars().take(200).collect() };
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(refused)?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") if local => false,
        _ => return Err(refused()),
    };
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Address { secure, host, port, path })
}

/// Whether what is said to the server at `base` may be said to `url`: not in the open, where `base` is asked over TLS.
///
/// # Errors
/// [`Error::Address`].
pub fn as_safe(base: &str, url: &str) -> Result<(), Error> {
    let (base, other) = (address(base)?, address(url)?);
    if base.secure && !other.secure {
        return Err(Error::Address { url: url.chars().take(200).collect() });
    }
    Ok(())
}

impl Outbound {
    /// Trusts the authorities of a PEM text alone, or without one those of the system.
    ///
    /// # Errors
    /// The text has no certificate; the system's cannot be read.
    pub fn new(authority: Option<&str>) -> Result<Self, Error> {
        let roots = match authority {
            Some(text) => Arc::new(bundle(text)?),
            None => system().ok_or(Error::Roots)?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| Error::Roots)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// GET.
    ///
    /// # Errors
    /// [`Error`]: no whole answer in time.
    pub async fn get(&self, url: &str) -> Result<Answer, Error> {
        self.call(url, |request| request.method(Method::GET), Bytes::new()).await
    }

    /// POST of a form.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Answer, Error> {
        let body = form.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let body = body.collect::<Vec<_>>().join("&");
        let form = |request: http::request::Builder| {
            request.method(Method::POST).header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        };
        self.call(url, form, body.into()).await
    }

    /// POST of JSON with a bearer token.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn ask(&self, url: &str, token: &str, question: &serde_json::Value) -> Result<Answer, Error> {
        let json = |request: http::request::Builder| {
            request
                .method(Method::POST)
                .header(http::header::CONTENT_TYPE, "application/json")
                .header(http::header::AUTHORIZATION, format!("Bearer {token}"))
        };
        self.call(url, json, question.to_string().into()).await
    }

    async fn call(
        &self,
        url: &str,
        build: impl FnOnce(http::request::Builder) -> http::request::Builder,
        body: Bytes,
    ) -> Result<Answer, Error> {
        let address = address(url)?;
        let host = match address.host.contains(':') {
            true => format!("[{}]:{}", address.host, address.port),
            false => format!("{}:{}", address.host, address.port),
        };
        let request = Request::builder().uri(&address.path).header(http::header::HOST, &host);
        let request = build(request.header(http::header::ACCEPT, "application/json")).body(Full::new(body));
        let request = request.map_err(|_| Error::Address { url: url.to_owned() })?;
        let answered = tokio::time::timeout(DEADLINE, self.exchange(&address, &host, request)).await;
        answered.unwrap_or_else(|_| Err(Error::Slow { host: host.clone() }))
    }

    async fn exchange(&self, address: &Address, host: &str, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
        let unreachable = |source| Error::Connect { host: host.to_owned(), source };
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(unreachable)?;
        if !address.secure {
            return send(stream, host, request).await;
        }
        let name = ServerName::try_from(address.host.clone()).map_err(|_| Error::Address { url: host.to_owned() })?;
        send(self.tls.connect(name, stream).await.map_err(unreachable)?, host, request).await
    }
}

async fn send<S>(stream: S, host: &str, request: Request<Full<Bytes>>) -> Result<Answer, Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let failed = |source| Error::Http { host: host.to_owned(), source };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let code = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| {
            tracing::debug!(large = error.is::<LengthLimitError>(), host, "an answer was not taken");
            Error::Answer { host: host.to_owned() }
        })?;
        Ok(Answer { code, body: body.to_bytes() })
    };
    // The connection is driven beside the exchange and ends with it: nothing is left running.
    tokio::pin!(exchange);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            // All was said; what was read is still to be taken.
            Ok(()) => exchange.await,
            Err(source) => Err(failed(source)),
        },
    }
}

fn bundle(text: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut text.as_bytes()) {
        let certificate = certificate.map_err(|_| Error::NoCertificate)?;
        roots.add(certificate).map_err(|_| Error::NoCertificate)?;
    }
    if roots.is_empty() { Err(Error::NoCertificate) } else { Ok(roots) }
}

/// Read once: there are hundreds.
fn system() -> Option<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Option<Arc<RootCertStore>>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Some(Arc::new(roots))
    };
    ROOTS.get_or_init(read).clone()
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let byte = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(byte).collect()
}
