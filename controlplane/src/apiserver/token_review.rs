//! `POST tokenreviews`: whose token is it? For programs that take the tokens of this control plane.

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use torch_remote_api::token::API_AUDIENCE;

use super::failure::Failure;
use super::routes::question;
use super::{Server, review};

/// Most audiences asked for at once.
const AUDIENCES: usize = 10;

/// Answers with the user of the token in `spec.token`, or why there is none.
///
/// # Errors
/// The review has no token, or too many audiences.
pub async fn answer(State(server): State<Server>, request: Request) -> Result<Response, Failure> {
    let (_, mut review) = question(request).await?;
    let Some(token) = review["spec"]["token"].as_str().filter(|token| !token.is_empty()).map(str::to_owned) else {
        return Err(Failure::bad_request("token is required for TokenReview in authentication".to_owned()));
    };
    let asked: Vec<String> = review["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let asked = if asked.is_empty() { vec![API_AUDIENCE.to_owned()] } else { asked };
    if asked.len() > AUDIENCES {
        return Err(Failure::bad_request(format!("spec.audiences must be {AUDIENCES} at most")));
    }
    let mut status = json!({"authenticated": false, "user": {}});
    for audience in &asked {
        match server.authenticator().judge(&token, audience).await {
            Ok(caller) => {
                status = json!({
                    "authenticated": true, "user": {"username": caller.name, "groups": caller.groups}, "audiences": [audience],
                });
                break;
            }
            Err(refused) => status["error"] = refused.to_string().into(),
        }
    }
    review["apiVersion"] = "authentication.k8s.io/v1".into();
    review["kind"] = "TokenReview".into();
    review["metadata"] = json!({"creationTimestamp": null});
    // Whoever asked has it.
    review["spec"] = json!({"audiences": asked});
    review["status"] = status;
    Ok(review::created(&review))
}
