//! The subresource `scale` of pools, as `kubectl scale` and autoscalers speak to it: `spec.replicas` is the pool's `spec.replicas.min`.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use torch_remote_api::field::FieldError;
use torch_remote_api::managed::{Applied, Conflict, Given, Owners};
use torch_remote_api::pool::{POOL_LABEL, label};
use torch_remote_api::status::Status;

use super::apply::conflicting;
use super::failure::Failure;
use super::objects::Call;
use super::patch::{APPLY_PATCH, Patch};
use super::preconditions;
use super::render::answer;
use super::{admission, body};
use crate::store::{Object, Preconditions};

/// Group and version of Scale.
const API_VERSION: &str = "autoscaling/v1";

/// Answers a call on `scale`.
///
/// # Errors
/// [`Failure`]: what the client is told.
pub async fn scale(call: &Call, stream: Body) -> Result<Response, Failure> {
    if call.method == http::Method::GET {
        let pool = call.server.objects().get(&call.key()).await.map_err(|error| call.refused(error))?;
        let pool = pool.ok_or_else(|| Status::not_found(call.kind, &call.name))?;
        return Ok(answer(StatusCode::OK, &shown(&pool), &[]));
    }
    let bytes = body::read(stream).await?;
    let dry_run = call.parameters.dry_run(call.options())?;
    let patched = call.method == http::Method::PATCH;
    if patched && body::media_type(&call.headers) == APPLY_PATCH {
        return apply(call, &bytes, dry_run).await;
    }
    let writer = call.parameters.writer(call.options(), &call.headers)?;
    let mut write = call.begin().await?;
    let old = call.lock(&mut write).await?;
    let asked = match call.method {
        http::Method::PATCH => Patch::read(call.kind, &call.headers, &bytes)?.0.apply(&shown(&old))?,
        _ => body::object(&call.headers, &bytes)?.value,
    };
    let (wanted, require) = parse(call, &asked)?;
    let mut pool = old.body.clone();
    pool["spec"]["replicas"]["min"] = wanted.into();
    let new = write.update(&call.key(), pool, &require).await.map_err(|error| call.refused(error))?;
    admission::judge(call.kind, &new.body, Some(&old.body))?;
    let new = call.own(&mut write, &old, &new, call.writer(&writer), Given::Nothing)?;
    let new = call.finish(write, new, StatusCode::OK, dry_run).await?;
    let warnings = call.server.advisor().advise(call.kind, &new.body, Some(&old.body)).await;
    Ok(answer(StatusCode::OK, &shown(&new), &warnings))
}

/// A Scale as a configuration: who applies it owns the number, and shares or disputes it with those who write the pool itself.
async fn apply(call: &Call, bytes: &[u8], dry_run: bool) -> Result<Response, Failure> {
    let (writer, scale) = (call.applier()?, body::configuration(bytes)?.value);
    let (wanted, require) = parse(call, &scale)?;
    let mut configuration = json!({});
    if !scale["spec"]["replicas"].is_null() {
        configuration["spec"]["replicas"]["min"] = wanted.into();
    }
    let mut write = call.begin().await?;
    let old = call.lock(&mut write).await?;
    let force = call.parameters.flag("force");
    let applied = call.writer(&writer).apply(Owners::of(&old.body), &old.body, &configuration, force);
    let Applied { object, owners } = applied.map_err(|conflicts| {
        let named = |conflict: Conflict| Conflict { field: ".spec.replicas".to_owned(), ..conflict };
        conflicting(conflicts.into_iter().map(named).collect())
    })?;
    let new = write.update(&call.key(), object, &require).await.map_err(|error| call.refused(error))?;
    admission::judge(call.kind, &new.body, Some(&old.body))?;
    let new = write.attribute(&call.key(), owners.encode()).map_err(|error| call.refused(error))?;
    let new = call.finish(write, new, StatusCode::OK, dry_run).await?;
    let warnings = call.server.advisor().advise(call.kind, &new.body, Some(&old.body)).await;
    Ok(answer(StatusCode::OK, &shown(&new), &warnings))
}

/// The pool as a Scale.
fn shown(pool: &Object) -> Value {
    let metadata = &pool.body["metadata"];
    let kept = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: serde_json::Map<String, Value> =
        kept.into_iter().map(|field| (field.to_owned(), metadata[field].clone())).collect();
    json!({
        "kind": "Scale", "apiVersion": API_VERSION, "metadata": metadata,
        "spec": {"replicas": pool.body["spec"]["replicas"]["min"].as_u64().unwrap_or(0)},
        "status": {
            "replicas": pool.body["status"]["replicas"].as_u64().unwrap_or(0),
            "selector": format!("{POOL_LABEL}={}", label(pool.name())),
        },
    })
}

/// How many machines are asked for, and of which version of the pool.
fn parse(call: &Call, scale: &Value) -> Result<(u64, Preconditions), Failure> {
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", "Scale")] {
        if let Some(given) = scale[field].as_str().filter(|given| *given != expected) {
            return Err(Failure::bad_request(format!(
                "the {field} in the data ({given}) does not match the expected {field} ({expected})"
            )));
        }
    }
    let given = scale["metadata"]["name"].as_str().unwrap_or("");
    if given != call.name {
        let message = format!("the name of the object ({given}) does not match the name on the URL ({})", call.name);
        return Err(Failure::bad_request(message));
    }
    let replicas = &scale["spec"]["replicas"];
    let wanted = match replicas {
        // An absent number is 0, as in every client that leaves zeros out.
        Value::Null => Some(0),
        number => number.as_u64(),
    };
    let wanted = wanted.ok_or_else(|| {
        let wrong = FieldError::invalid("spec.replicas", replicas.clone(), "must be greater than or equal to 0");
        Status::invalid(call.kind, &call.name, &[wrong])
    })?;
    Ok((wanted, preconditions::of(scale)?))
}
