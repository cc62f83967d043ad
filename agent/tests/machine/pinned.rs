//! A session from another host: TLS by the pin of the lease's endpoint, and nothing else.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Endpoint;
use torch_remote_agent::services::data_plane_client::DataPlaneClient;
use torch_remote_proto::v1::hello::Credential;
use torch_remote_proto::v1::{self, server_frame};

use crate::fixture::{Control, LEASE, Machine, PATIENCE, Stream};

/// A client that trusts the key whose pin it was given.
#[derive(Debug)]
struct Pinned(String);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let pin = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(key.as_ref()));
        if pin == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another key".into()))
        }
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

async fn dial(address: &str, pin: &str, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(pin.to_owned())))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// A bound machine that other hosts reach, the address of its slot, and the pin.
async fn bound() -> (Machine, Control, String, String) {
    let executor = Path::new(env!("CARGO_BIN_EXE_torch-remote-executor"));
    let machine = Machine::start_with(executor, |config| config.public_address = Some("127.0.0.1".to_owned()));
    let mut control = machine.control(1).await;
    let endpoints = control.bind(machine.bind(1)).await.unwrap().endpoints;
    let [near, far] = endpoints.as_slice() else { panic!("not two endpoints: {endpoints:?}") };
    assert_eq!((near.kind.as_str(), near.tls.as_str()), ("unix", "none"), "this host's way comes first");
    assert_eq!(far.kind, "tcp");
    assert!(far.address.starts_with("127.0.0.1:"), "{}", far.address);
    let pin = far.tls.strip_prefix("spkiSHA256:").expect("a pin").to_owned();
    (machine, control, far.address.clone(), pin)
}

/// All that the other side sends until it closes.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    match tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection is closed") {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    answer
}

#[tokio::test]
async fn a_session_opens_over_tcp_by_the_pin_and_goes_on_over_the_unix_socket() {
    let (machine, _control, address, pin) = bound().await;
    let secured = dial(&address, &pin, b"h2").await.unwrap();
    let mut once = Some(TokioIo::new(secured));
    let connector = tower::service_fn(move |_| std::future::ready(once.take().ok_or(std::fmt::Error)));
    let channel = Endpoint::from_static("http://agent").connect_with_connector(connector).await.unwrap();
    let token = Credential::Token(machine.signer.lease(1, false));
    let (_stream, first) = Stream::open(DataPlaneClient::new(channel), token, 0).await;
    let server_frame::Frame::Welcome(welcome) = first else { panic!("not welcome: {first:?}") };
    let resume = Credential::Resume(v1::Resume { lease_uid: LEASE.to_owned(), secret: welcome.resume_secret });
    let (_near, first) = machine.session(resume, 0).await;
    assert!(matches!(first, server_frame::Frame::Welcome(_)), "both sockets are of one executor: {first:?}");
}

#[tokio::test]
async fn a_token_refused_over_tcp_is_told_with_the_address_it_came_from() {
    let (machine, mut control, address, pin) = bound().await;
    let secured = dial(&address, &pin, b"h2").await.unwrap();
    let from = secured.get_ref().0.local_addr().unwrap();
    let mut once = Some(TokioIo::new(secured));
    let connector = tower::service_fn(move |_| std::future::ready(once.take().ok_or(std::fmt::Error)));
    let channel = Endpoint::from_static("http://agent").connect_with_connector(connector).await.unwrap();
    let token = Credential::Token(machine.signer.expired(1));
    let (_stream, first) = Stream::open(DataPlaneClient::new(channel), token, 0).await;
    assert!(matches!(first, server_frame::Frame::Refused(_)), "{first:?}");
    let denied = control.denied().await;
    assert_eq!((denied.reason.as_str(), denied.peer), ("TokenExpired", from.to_string()));
}

#[tokio::test]
async fn without_tls_the_pin_or_http2_nothing_is_served() {
    let (_machine, _control, address, pin) = bound().await;
    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let answer = rest(&mut plain).await;
    assert!(answer.len() <= 7 && answer.first().is_none_or(|kind| *kind == 0x15), "a TLS alert at most: {answer:?}");
    let other = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let refused = dial(&address, &other, b"h2").await.unwrap_err();
    assert!(refused.to_string().contains("another key"), "{refused}");
    dial(&address, &pin, b"http/1.1").await.unwrap_err();
    dial(&address, &pin, b"h2").await.expect("they took nobody else's place");
}
