//! The API's own certificate authority: made by whoever comes first, sealed in the database, the same for all replicas.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use sqlx::PgPool;
use tokio::net::TcpListener;

use super::Error;
use crate::auth::seal::{Place, Sealer};
use crate::config::ListenerArgs;
use crate::store::sealed;
use crate::tls::{self, Authority};

/// Where the authority's key is kept.
const AUTHORITY: Place<'static> = Place { table: "sealed", row: "api-authority", column: "sealed" };

/// The authority in the database.
///
/// # Errors
/// The database failed, or the key file is not the one it was sealed with.
pub(super) async fn open(pool: &PgPool, sealer: &Sealer) -> Result<Authority, Error> {
    let stored = match sealed::get(pool, AUTHORITY.row).await.map_err(Error::Store)? {
        Some(stored) => stored,
        None => {
            let new = Authority::generate().map_err(Error::Tls)?;
            let text = serde_json::json!({"certificate": new.certificate, "key": new.key}).to_string();
            let sealed = sealer.seal(AUTHORITY, text.as_bytes()).map_err(Error::Key)?;
            sealed::put_if_absent(pool, AUTHORITY.row, &sealed).await.map_err(Error::Store)?
        }
    };
    let text = sealer.unseal(AUTHORITY, &stored).map_err(Error::Key)?;
    let parts: BTreeMap<String, String> = serde_json::from_slice(&text).map_err(Error::Authority)?;
    let part = |name: &str| parts.get(name).cloned().unwrap_or_default();
    Ok(Authority { certificate: part("certificate"), key: part("key") })
}

/// The names that the listener's certificate has.
pub(super) fn names(listener: &TcpListener, limits: &ListenerArgs) -> Vec<String> {
    let address = listener.local_addr().map(|address| address.ip());
    tls::names(address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), &limits.tls_name)
}
