//! The listener's certificate of our own authority: signed anew, while the listener serves, before the last one ends.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use super::{Authority, Error, LEAF_LIFE, protocols};

/// Between two looks at the certificate's age.
const LOOK: Duration = Duration::from_secs(3600);

/// A certificate that is kept good.
#[derive(Debug)]
pub struct Leaf {
    authority: Authority,
    names: Vec<String>,
    current: RwLock<Signed>,
}

#[derive(Debug)]
struct Signed {
    key: Arc<CertifiedKey>,
    at: SystemTime,
}

impl Leaf {
    /// Signs the first one.
    ///
    /// # Errors
    /// As [`Authority::leaf`].
    pub fn sign(authority: Authority, names: Vec<String>) -> Result<Self, Error> {
        let current = RwLock::new(signed(&authority, &names)?);
        Ok(Self { authority, names, current })
    }

    /// The listener's side of TLS; each handshake is answered with the newest certificate.
    ///
    /// # Errors
    /// [`Error::Unusable`].
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Error> {
        protocols(self.clone())
    }

    /// Signs a new one whenever less than a third of the last one's life is left, until told to stop.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            if let Err(error) = self.renew(SystemTime::now()) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot sign a new certificate; clients are refused when the old one ends"
                );
            }
        }
    }

    /// Also when the clock was set back to before it was signed: it is not valid yet then.
    fn renew(&self, now: SystemTime) -> Result<(), Error> {
        let at = self.current.read().unwrap_or_else(PoisonError::into_inner).at;
        if now.duration_since(at).is_ok_and(|age| age < LEAF_LIFE / 3 * 2) {
            return Ok(());
        }
        let fresh = signed(&self.authority, &self.names)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

fn signed(authority: &Authority, names: &[String]) -> Result<Signed, Error> {
    let at = SystemTime::now();
    Ok(Signed { key: Arc::new(authority.leaf(names)?.certified()?), at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_new_one_is_signed_when_a_third_of_the_last_one_s_life_is_left_and_not_before() {
        let authority = Authority::generate().expect("an authority");
        let leaf = Leaf::sign(authority, vec!["localhost".into()]).expect("a leaf");
        let shown = || leaf.current.read().expect("not poisoned").key.cert.clone();
        let (first, now) = (shown(), SystemTime::now());
        leaf.renew(now + 260 * DAY).expect("nothing to do");
        assert_eq!(shown(), first);
        leaf.renew(now + 270 * DAY).expect("renewed");
        assert_ne!(shown(), first);
        let second = shown();
        leaf.renew(now - DAY).expect("renewed");
        assert_ne!(shown(), second, "the clock was set back");
    }
}
