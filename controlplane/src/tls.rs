//! Certificates of the API listener: an authority of our own that signs leaves, or files the operator brings.
//!
//! Invariants: the leaf is never an authority (rustls clients refuse one that is), and names every address the listener answers to.

mod leaf;

use std::fs::File;
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::explain::Explain;

pub use leaf::Leaf;

/// Name of the authority; a leaf finds its issuer by it, so it never changes.
const AUTHORITY: &str = "torch-remote certificate authority";
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);
const LEAF_LIFE: Duration = Duration::from_secs(397 * 86_400);
/// Clients' clocks may be behind ours.
const SKEW: Duration = Duration::from_secs(3600);

/// A certificate authority: its certificate for clients, its key for us.
#[derive(Clone)]
pub struct Authority {
    /// PEM; public.
    pub certificate: String,
    /// PEM; secret.
    pub key: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What a listener presents: a chain and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// A failure to make or read certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Key or certificate generation failed.
    #[error("cannot make a certificate")]
    Generate {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds nothing of the kind.
    #[error("there is no {what} in {}", path.display())]
    Missing {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not fit together, or are of a kind that is not spoken here.
    #[error("the certificate and its key cannot be used")]
    Unusable {
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        "CertificateUnusable"
    }

    fn fix(&self) -> String {
        match self {
            Self::Generate { .. } => String::new(),
            Self::Read { .. } | Self::Missing { .. } | Self::Unusable { .. } => {
                "Give --tls-cert a PEM file with the certificate and its chain, and --tls-key one with its private key; or neither, for an authority of our own.".into()
            }
        }
    }
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// [`Error::Generate`].
    pub fn generate() -> Result<Self, Error> {
        let generate = |source| Error::Generate { source };
        let key = KeyPair::generate().map_err(generate)?;
        let certificate = authority_params().self_signed(&key).map_err(generate)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A leaf for these names and addresses, signed now.
    ///
    /// # Errors
    /// [`Error::Generate`] when a name is no name, or the authority's key cannot be read.
    pub fn leaf(&self, names: &[String]) -> Result<Identity, Error> {
        let generate = |source| Error::Generate { source };
        let authority_key = KeyPair::from_pem(&self.key).map_err(generate)?;
        let key = KeyPair::generate().map_err(generate)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "torch-remote");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        lifetime(&mut params, LEAF_LIFE);
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into().map_err(generate)?),
            });
        }
        let authority = authority_params();
        let leaf = params.signed_by(&key, &Issuer::from_params(&authority, authority_key)).map_err(generate)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key just made is PKCS#8");
        Ok(Identity { chain: vec![leaf.der().clone()], key })
    }
}

impl Identity {
    /// Reads PEM files: a chain, leaf first, and its key.
    ///
    /// # Errors
    /// A file cannot be read or lacks what it should hold.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let open = |path: &Path| {
            File::open(path).map(BufReader::new).map_err(|source| Error::Read { path: path.to_owned(), source })
        };
        let chain = rustls_pemfile::certs(&mut open(certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| Error::Read { path: certificate.to_owned(), source })?;
        if chain.is_empty() {
            return Err(Error::Missing { what: "certificate", path: certificate.to_owned() });
        }
        let found = rustls_pemfile::private_key(&mut open(key)?)
            .map_err(|source| Error::Read { path: key.to_owned(), source })?;
        let key = found.ok_or_else(|| Error::Missing { what: "private key", path: key.to_owned() })?;
        Ok(Self { chain, key })
    }

    /// The listener's side of TLS 1.2 and 1.3, speaking HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the key is not the certificate's.
    pub fn server_config(self) -> Result<Arc<ServerConfig>, Error> {
        protocols(Arc::new(SingleCertAndKey::from(self.certified()?)))
    }

    /// Certificate and key, found to fit together.
    fn certified(self) -> Result<CertifiedKey, Error> {
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(self.chain, self.key, &provider).map_err(|source| Error::Unusable { source })
    }
}

/// TLS 1.2 and 1.3 with the certificate that is chosen, speaking HTTP/2 and HTTP/1.1.
fn protocols(certificates: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|source| Error::Unusable { source })?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The names a listener on `address` answers to: loopback's, this host's, its own address, and `more`.
pub fn names(address: IpAddr, more: &[String]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
    let own = (!address.is_unspecified()).then(|| address.to_string());
    for name in std::iter::once(host()).chain(own).chain(more.iter().cloned()) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Name of this host.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lifetime(&mut params, AUTHORITY_LIFE);
    params
}

fn lifetime(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + life).into();
}

#[cfg(test)]
mod tests {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    fn verify(authority: &Authority, leaf: &Identity, name: &str) -> Result<(), rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        let der = rustls_pemfile::certs(&mut authority.certificate.as_bytes()).next().expect("one").expect("readable");
        roots.add(der).expect("an authority's certificate is a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("roots");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        verifier.verify_server_cert(&leaf.chain[0], &[], &name, &[], UnixTime::now()).map(|_| ())
    }

    #[test]
    fn a_rustls_client_accepts_the_leaf_under_each_of_its_names_and_no_other() {
        let authority = Authority::generate().expect("an authority");
        let leaf = authority.leaf(&names(Ipv4Addr::new(10, 1, 2, 3).into(), &[])).expect("a leaf");
        for name in ["localhost", "127.0.0.1", "::1", "10.1.2.3"] {
            verify(&authority, &leaf, name).expect(name);
        }
        verify(&authority, &leaf, "10.9.9.9").expect_err("an address that is not the listener's");
    }

    #[test]
    fn a_leaf_of_another_authority_is_refused() {
        let (ours, theirs) = (Authority::generate().expect("one"), Authority::generate().expect("two"));
        let leaf = theirs.leaf(&names(Ipv4Addr::LOCALHOST.into(), &[])).expect("a leaf");
        verify(&ours, &leaf, "localhost").expect_err("signed by another key of the same name");
    }

    #[test]
    fn a_leaf_signed_after_a_restart_still_verifies() {
        let first = Authority::generate().expect("an authority");
        let stored = Authority { certificate: first.certificate.clone(), key: first.key.clone() };
        let leaf = stored.leaf(&["localhost".into()]).expect("a leaf");
        verify(&first, &leaf, "localhost").expect("the certificate clients hold is still good");
    }
}
