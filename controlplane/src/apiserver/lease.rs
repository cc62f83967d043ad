//! What only the holder of a lease may do with it: renew it, end it, have its token.

use axum::response::Response;
use torch_remote_api::status::Status;

use super::failure::Failure;
use super::objects::Call;
use crate::auth::authorize;
use crate::store::{Object, Resource};

/// Whether the caller may end this object: of leases only the holder may, and administrators.
///
/// # Errors
/// 403.
pub fn may_end(call: &Call, object: &Object) -> Result<(), Failure> {
    if call.resource == Resource::LEASES { allow(call, object, "delete", "deviceleases") } else { Ok(()) }
}

/// The lease the call is about, for a caller who may use it.
///
/// # Errors
/// 404, 403, or the store failed.
pub async fn held(call: &Call) -> Result<Object, Failure> {
    let object = call.server.objects().get(&call.key()).await.map_err(|error| call.refused(error))?;
    let object = object.ok_or_else(|| Status::not_found(call.kind, &call.name))?;
    allow(call, &object, "create", &format!("deviceleases/{}", call.subresource))?;
    Ok(object)
}

fn allow(call: &Call, object: &Object, verb: &str, resource: &str) -> Result<(), Failure> {
    let holder = object.body["status"]["holder"].as_str();
    if authorize::may_use_lease(&call.caller, holder) {
        return Ok(());
    }
    let denied =
        Status::not_allowed(call.kind, object.name(), &call.caller.name, verb, resource, Some(object.namespace()));
    Err(denied.into())
}

/// `POST deviceleases/{name}/renew`.
///
/// # Errors
/// The caller may not, or nothing here hands out leases.
pub async fn renew(call: &Call, _body: &[u8]) -> Result<Response, Failure> {
    held(call).await?;
    Err(Status::unavailable("no reconciler of leases runs here", 1).into())
}

/// `POST deviceleases/{name}/token`.
///
/// # Errors
/// The caller may not, or nothing here hands out leases.
pub async fn token(call: &Call, _body: &[u8]) -> Result<Response, Failure> {
    held(call).await?;
    Err(Status::unavailable("no reconciler of leases runs here", 1).into())
}
