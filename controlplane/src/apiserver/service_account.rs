//! `POST serviceaccounts/{name}/token`: a token that speaks for the account until its end, or the account's.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use torch_remote_api::by_plural;
use torch_remote_api::field::{Cause, FieldError};
use torch_remote_api::service_account;
use torch_remote_api::status::Status;
use torch_remote_api::token::{ACCOUNT_SECONDS, API_AUDIENCE, API_TYPE, AccountClaim, ApiClaims, BoundClaim};

use super::body;
use super::failure::Failure;
use super::objects::Call;
use super::render::answer;
use crate::store::object::seconds;
use crate::store::{Key, Object, Resource};

/// Shortest life that may be asked for.
const SHORTEST: i64 = 600;
/// Longest life that may be asked for; more than is given.
const LONGEST: i64 = 1 << 32;

/// Longest name of an audience, bytes.
const LONGEST_AUDIENCE: usize = 256;

/// What is asked for.
struct Wish {
    audience: String,
    seconds: i64,
    secret: Option<(String, Option<String>)>,
}

/// Makes the token.
///
/// # Errors
/// There is no such account, the request asks for what is not given, or the database failed.
pub async fn token(call: &Call, bytes: &[u8]) -> Result<Response, Failure> {
    let request = if bytes.is_empty() { json!({}) } else { body::object(&call.headers, bytes)?.value };
    of_this_call(call, &request)?;
    let wish = wish(&request)?;
    let account = there(call, Resource::SERVICE_ACCOUNTS, &call.name).await?;
    let secret = match &wish.secret {
        None => None,
        Some((name, uid)) => {
            let secret = there(call, Resource::SECRETS, name).await?;
            if uid.as_deref().is_some_and(|uid| uid != secret.uid()) {
                let kind = by_plural("", "secrets").unwrap_or(call.kind);
                let problem = format!(
                    "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
                    uid.as_deref().unwrap_or_default()
                );
                return Err(Status::conflict(kind, name, &problem).into());
            }
            Some(secret)
        }
    };
    let version = secret.iter().chain([&account]).map(Object::resource_version).max().unwrap_or_default();
    let seconds = wish.seconds.min(call.server.authentication().account_seconds);
    let namespace = account.namespace();
    let keys = call.server.keys();
    let claims = ApiClaims {
        registered: keys.registered(service_account::user(namespace, account.name()), wish.audience.as_str(), seconds),
        groups: service_account::groups(namespace),
        account: Some(AccountClaim {
            namespace: namespace.to_owned(),
            name: account.name().to_owned(),
            uid: account.uid().to_owned(),
            version,
            secret: secret.map(|secret| BoundClaim { name: secret.name().to_owned(), uid: secret.uid().to_owned() }),
        }),
    };
    let token = keys.sign(API_TYPE, &claims).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot sign a service account's token");
        Failure::from(Status::internal("the token could not be signed"))
    })?;
    Ok(answer(StatusCode::CREATED, &answered(&request, &claims, token), &[]))
}

fn answered(request: &Value, claims: &ApiClaims, token: String) -> Value {
    let expires = chrono::DateTime::from_timestamp(claims.registered.exp, 0).unwrap_or_default();
    let account = claims.account.as_ref();
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "metadata": {
            "name": account.map(|account| &account.name), "namespace": account.map(|account| &account.namespace),
            "creationTimestamp": null,
        },
        "spec": {
            "audiences": [claims.registered.aud], "expirationSeconds": claims.registered.exp - claims.registered.iat,
            "boundObjectRef": request["spec"]["boundObjectRef"],
        },
        "status": {"token": token, "expirationTimestamp": seconds(expires)},
    })
}

/// What the body says of itself, where it does, is what the URL says.
fn of_this_call(call: &Call, request: &Value) -> Result<(), Failure> {
    let other = |value: &Value, expected: &str| !value.is_null() && value != "" && value != expected;
    if other(&request["kind"], "TokenRequest") || other(&request["apiVersion"], "authentication.k8s.io/v1") {
        return Err(Failure::bad_request("the body must be a TokenRequest of authentication.k8s.io/v1".to_owned()));
    }
    let metadata = &request["metadata"];
    for (field, expected) in [("name", &*call.name), ("namespace", call.namespace.as_deref().unwrap_or_default())] {
        if other(&metadata[field], expected) {
            let problem = format!(
                "the {field} of the object ({}) does not match the {field} on the URL ({expected})",
                metadata[field].as_str().unwrap_or_default()
            );
            return Err(Failure::bad_request(problem));
        }
    }
    Ok(())
}

/// The audiences asked for. One that was meant and not understood must not end as the API's.
fn audiences(given: &Value) -> Option<Vec<&str>> {
    if given.is_null() {
        return Some(Vec::new());
    }
    let named =
        |audience: &'_ Value| audience.as_str().is_some_and(|name| !name.is_empty() && name.len() <= LONGEST_AUDIENCE);
    let all = given.as_array()?;
    all.iter().all(named).then(|| all.iter().filter_map(Value::as_str).collect())
}

fn wish(request: &Value) -> Result<Wish, Failure> {
    let spec = &request["spec"];
    let mut wrong = Vec::new();
    let audiences = audiences(&spec["audiences"]).ok_or_else(|| {
        Failure::bad_request(format!("spec.audiences must be a list of names of 1 to {LONGEST_AUDIENCE} bytes"))
    })?;
    if audiences.len() > 1 {
        let detail = "a token is for one audience; ask for several tokens";
        wrong.push(FieldError::new(Cause::TooMany, "spec.audiences", audiences.len().into(), detail));
    }
    let seconds = match &spec["expirationSeconds"] {
        Value::Null => ACCOUNT_SECONDS,
        given => given.as_i64().unwrap_or(0),
    };
    let problem = match seconds {
        ..SHORTEST => Some("may not specify a duration less than 10 minutes"),
        SHORTEST..=LONGEST => None,
        _ => Some("may not specify a duration larger than 2^32 seconds"),
    };
    wrong.extend(problem.map(|problem| FieldError::invalid("spec.expirationSeconds", seconds.into(), problem)));
    if !wrong.is_empty() {
        return Err(invalid(&wrong));
    }
    Ok(Wish {
        audience: audiences.first().copied().unwrap_or(API_AUDIENCE).to_owned(),
        seconds,
        secret: bound(&spec["boundObjectRef"])?,
    })
}

/// Name and uid of the Secret that the token is to end with.
fn bound(reference: &Value) -> Result<Option<(String, Option<String>)>, Failure> {
    let text = |field: &str| reference[field].as_str().filter(|text| !text.is_empty());
    if reference.is_null() {
        return Ok(None);
    }
    let (kind, version) = (text("kind").unwrap_or_default(), text("apiVersion").unwrap_or("v1"));
    if (kind, version) != ("Secret", "v1") {
        let gvk = version.split_once('/').map_or(("", version), |(group, version)| (group, version));
        let problem = format!("cannot bind token to object of type {}/{}, Kind={kind}", gvk.0, gvk.1);
        return Err(Failure::bad_request(problem));
    }
    let name = text("name").ok_or_else(|| invalid(&[FieldError::required("spec.boundObjectRef.name", "")]))?;
    Ok(Some((name.to_owned(), text("uid").map(str::to_owned))))
}

fn invalid(wrong: &[FieldError]) -> Failure {
    Failure::invalid("authentication.k8s.io", "TokenRequest", wrong)
}

/// An object of the call's namespace that is there to stay.
async fn there(call: &Call, resource: Resource, name: &str) -> Result<Object, Failure> {
    let kind = by_plural(resource.group, resource.plural).unwrap_or(call.kind);
    let key = Key::new(resource, call.namespace.clone().unwrap_or_default(), name);
    let object = call.server.objects().get(&key).await.map_err(|error| Failure::store(kind, name, error))?;
    object.filter(|object| !object.deleting()).ok_or_else(|| Status::not_found(kind, name).into())
}
