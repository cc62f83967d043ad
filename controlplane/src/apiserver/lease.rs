//! What only the holder of a lease may do with it: renew it, end it, have its token.

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use torch_remote_api::condition;
use torch_remote_api::lease::{DeviceLease, ENDED, Endpoint, WAITER_TTL};
use torch_remote_api::status::Status;
use torch_remote_api::token::{LEASE_SECONDS, LEASE_TYPE, LeaseClaims, SlotEpoch};
use uuid::Uuid;

use super::failure::Failure;
use super::objects::Call;
use super::render::answer;
use crate::auth::authorize;
use crate::store::{self, Object, Resource};

/// Whether the caller may change or end this object: of leases only the holder may, and administrators.
///
/// # Errors
/// 403.
pub fn may_change(call: &Call, object: &Object) -> Result<(), Failure> {
    let verb = match call.method.as_str() {
        "PUT" => "update",
        "PATCH" => "patch",
        _ => "delete",
    };
    if call.resource == Resource::LEASES { allow(call, object, verb, "deviceleases") } else { Ok(()) }
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

/// `POST deviceleases/{name}/renew`: the waiter is alive. Answers how long that is believed. A body says nothing and is not waited for.
///
/// # Errors
/// The caller may not, the lease is over, or the database failed.
pub async fn renew(call: &Call) -> Result<Response, Failure> {
    let object = holders(call).await?;
    let alive = store::lease::renew(call.server.objects().pool(), uid(call, &object)?).await;
    if !alive.map_err(|error| call.refused(error))? {
        return Err(over(call, &object));
    }
    Ok(answer(StatusCode::OK, &json!({"ttlSeconds": WAITER_TTL.as_secs()}), &[]))
}

/// `POST deviceleases/{name}/token`: what opens the lease's session, for its holder alone, and only while the agents have it bound. `{attach: true}`: for a new
/// process that takes a lost session over.
///
/// # Errors
/// The caller is not the holder, the lease is not bound, or the database failed.
pub async fn token(call: &Call, body: &[u8]) -> Result<Response, Failure> {
    let object = holders(call).await?;
    let wish = wish(body)?;
    let bindings = store::lease::bindings(call.server.objects().pool(), uid(call, &object)?).await;
    let (bindings, _) = bindings.map_err(|error| call.refused(error))?;
    let live: Vec<_> = bindings.iter().filter(|binding| binding.released.is_none() && !binding.revoked).collect();
    if live.is_empty() || live.len() < bindings.len() {
        return Err(unbound(call, &object));
    }
    let Some(endpoints) = live.iter().map(|binding| binding.acked.clone()).collect::<Option<Vec<_>>>() else {
        return Err(unbound(call, &object));
    };
    let machine = &live[0].at.machine;
    let slots = live.iter().map(|binding| SlotEpoch { slot: binding.at.slot, epoch: binding.at.epoch.0 }).collect();
    let keys = call.server.keys();
    let registered = keys.registered(call.caller.name.as_str(), machine.0.as_str(), LEASE_SECONDS);
    let expires = chrono::DateTime::from_timestamp(registered.exp, 0).unwrap_or_default();
    let claims = LeaseClaims { registered, lease: object.uid().to_owned(), slots, attach: wish.attach };
    let token = keys.sign(LEASE_TYPE, &claims).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot sign a lease token");
        Failure::from(Status::internal("the token could not be signed"))
    })?;
    let endpoints: Vec<Endpoint> = endpoints.into_iter().flatten().collect();
    let answered = json!({"token": token, "expiresAt": store::object::seconds(expires), "endpoints": endpoints});
    Ok(answer(StatusCode::OK, &answered, &[]))
}

/// Body of a call for a token; may be empty.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    attach: bool,
}

fn wish(body: &[u8]) -> Result<Wish, Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Wish::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("the body must be {{}} or {{\"attach\": true}}: {error}")))
}

/// As [`held`], and the caller is the holder: what acts as a lease's process is not for administrators either.
async fn holders(call: &Call) -> Result<Object, Failure> {
    let object = held(call).await?;
    if object.body["status"]["holder"].as_str() == Some(call.caller.name.as_str()) {
        return Ok(object);
    }
    let resource = format!("deviceleases/{}", call.subresource);
    let denied =
        Status::not_allowed(call.kind, object.name(), &call.caller.name, "create", &resource, Some(object.namespace()));
    Err(denied.into())
}

fn uid(call: &Call, object: &Object) -> Result<Uuid, Failure> {
    Uuid::parse_str(object.uid()).map_err(|_| Status::not_found(call.kind, &call.name).into())
}

fn over(call: &Call, object: &Object) -> Failure {
    let ended = object.body["status"]["conditions"].as_array().into_iter().flatten().find(|fact| fact["type"] == ENDED);
    let text = |field: &str| ended.and_then(|fact| fact[field].as_str()).unwrap_or_default();
    Status::conflict(
        call.kind,
        object.name(),
        &format!("the lease is over ({}: {}); ask for a new one", text("reason"), text("message")),
    )
    .into()
}

fn unbound(call: &Call, object: &Object) -> Failure {
    let phase = object.body["status"]["phase"].as_str().unwrap_or("Pending");
    let lease: Result<DeviceLease, _> = object.parse();
    if lease.is_ok_and(|lease| condition::holds(&lease.status.conditions, ENDED)) {
        return over(call, object);
    }
    Status::conflict(
        call.kind,
        object.name(),
        &format!("the lease is {phase}; a token is given while it is Bound: watch it until then"),
    )
    .into()
}
