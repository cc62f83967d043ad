//! How an endpoint proves that it is the executor.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;

use super::{Socket, Unusable};

/// `tls` of an endpoint.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// The socket itself is the proof: a Unix socket, loopback, or a relay's inside.
    Plain,
    /// A certificate.
    Tls(Arc<ClientConfig>, ServerName<'static>),
}

impl Trust {
    /// From `none`, `system`, `spkiSHA256:<base64>` or `caBundle:<pem>`.
    pub(crate) fn parse(tls: &str, host: &str) -> Result<Self, Unusable> {
        let builder = || {
            ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| Unusable::Key(error.to_string()))
        };
        let mut config = match tls.split_once(':') {
            None if tls == "none" => return Ok(Trust::Plain),
            None if tls == "system" => builder()?.with_root_certificates(system_roots()?).with_no_client_auth(),
            Some(("spkiSHA256", pin)) => {
                let verifier = Pin { digest: decode_pin(pin)?, provider: Arc::new(ring::default_provider()) };
                builder()?.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
            }
            Some(("caBundle", pem)) => {
                let roots = Arc::new(bundle(pem)?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::new(ring::default_provider()))
                    .build()
                    .map_err(|error| Unusable::Key(error.to_string()))?;
                builder()?.with_webpki_verifier(verifier).with_no_client_auth()
            }
            None | Some(_) => return Err(Unusable::Trust(tls.chars().take(40).collect())),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| Unusable::Address(host))?;
        Ok(Trust::Tls(Arc::new(config), name))
    }

    /// Makes a connected socket secure.
    pub(super) async fn secure(&self, socket: Socket) -> std::io::Result<Socket> {
        match self {
            Trust::Plain => Ok(socket),
            Trust::Tls(config, name) => {
                let stream = TlsConnector::from(config.clone()).connect(name.clone(), socket).await?;
                Ok(Socket::Tls(Box::new(stream)))
            }
        }
    }
}

fn system_roots() -> Result<RootCertStore, Unusable> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Unusable::Key("the system has no root certificates: install ca-certificates".to_owned()));
    }
    Ok(roots)
}

fn bundle(pem: &str) -> Result<RootCertStore, Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| Unusable::Key(format!("caBundle: {error}")))?;
        roots.add(certificate).map_err(|error| Unusable::Key(format!("caBundle: {error}")))?;
    }
    Ok(roots)
}

fn decode_pin(pin: &str) -> Result<[u8; 32], Unusable> {
    use base64::Engine;
    let decoded = base64::engine::general_purpose::STANDARD.decode(pin).ok().and_then(|bytes| bytes.try_into().ok());
    decoded.ok_or_else(|| Unusable::Key("spkiSHA256 is not the base64 of 32 bytes".to_owned()))
}

/// Trusts exactly one public key, whatever the certificate around it says.
#[derive(Debug)]
struct Pin {
    digest: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = rustls::server::ParsedCertificate::try_from(end_entity)?;
        let digest: [u8; 32] = Sha256::digest(certificate.subject_public_key_info().as_ref()).into();
        if digest == self.digest {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(
            "the machine's key is not the one the lease names: something stands between".to_owned(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
