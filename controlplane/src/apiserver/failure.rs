//! [`Failure`]: a refusal on its way to the client, always a Status object.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use torch_remote_api::field::{FieldError, aggregate};
use torch_remote_api::status::{Details, Reason, Status, StatusCause};
use torch_remote_api::{Kind, by_kind, by_plural};

use crate::auth::Refused;
use crate::store::{Error, Key};

/// What a refusal says, for those who see the answer alone: an extension of the response.
#[derive(Debug, Clone)]
pub struct Said(pub String);

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure(Box<Status>);

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self(Box::new(status))
    }
}

impl Failure {
    /// What will be said.
    pub fn status(&self) -> &Status {
        &self.0
    }

    /// 400.
    pub fn bad_request(message: String) -> Self {
        Status::bad_request(message).into()
    }

    /// 422 for query parameters, which belong to no kind of ours.
    pub fn invalid_options(name: &str, errors: &[FieldError]) -> Self {
        Self::invalid("meta.k8s.io", name, errors)
    }

    /// 422 for a document that is stored nowhere, and so has no name.
    pub fn invalid(group: &str, kind: &str, errors: &[FieldError]) -> Self {
        let mut status =
            Status::failure(Reason::Invalid, format!("{kind}.{group} \"\" is invalid: {}", aggregate(errors)));
        let causes = errors.iter().map(|error| StatusCause {
            reason: error.cause.reason().to_owned(),
            message: error.body(),
            field: error.field.clone(),
        });
        status.details = Some(Details {
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes: causes.collect(),
            ..Details::default()
        });
        status.into()
    }

    /// 401, with why.
    pub fn unauthorized(refused: &Refused) -> Self {
        match refused {
            Refused::IssuerSilent => Status::unavailable(&refused.to_string(), 1).into(),
            Refused::Keys(source) => {
                tracing::error!(error = source as &dyn std::error::Error, "cannot read the signing keys");
                Status::unavailable(&refused.to_string(), 1).into()
            }
            _ => Status::failure(Reason::Unauthorized, format!("Unauthorized: {refused}")).into(),
        }
    }

    /// What the store refused, in the words of the API.
    pub fn store(kind: &Kind, name: &str, error: Error) -> Self {
        let of = |key: &Key| by_plural(key.resource.group, key.resource.plural).unwrap_or(kind);
        match &error {
            Error::NotFound { key } => Status::not_found(of(key), &key.name).into(),
            Error::AlreadyExists { key, deleting } => {
                let mut status = Status::already_exists(of(key), &key.name);
                if *deleting {
                    status.message.insert_str(0, "object is being deleted: ");
                }
                status.into()
            }
            Error::Conflict { key, .. } => Status::modified(of(key), &key.name).into(),
            Error::OtherUid { key, expected, found } => Status::other_uid(of(key), &key.name, expected, found).into(),
            Error::FinalizerAdded { key } => {
                let wrong = FieldError::forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted",
                );
                Status::invalid(of(key), &key.name, &[wrong]).into()
            }
            Error::NamespaceMissing { namespace } => {
                Status::not_found(by_kind("", "Namespace").unwrap_or(kind), namespace).into()
            }
            Error::NamespaceTerminating { namespace } => Status::namespace_terminating(kind, name, namespace).into(),
            Error::TooLarge { .. } => Status::failure(Reason::RequestEntityTooLarge, error.to_string()).into(),
            Error::Expired { version, compacted } => Status::too_old(*version, *compacted).into(),
            Error::Future { version, newest } => Status::too_new(*version, *newest).into(),
            Error::NoKey
            | Error::Seal { .. }
            | Error::Malformed { .. }
            | Error::Migrate { .. }
            | Error::Outgrown { .. }
            | Error::Database { .. } => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
                unavailable(&error)
            }
        }
    }
}

fn unavailable(error: &Error) -> Failure {
    let down = match error {
        Error::Database { source, .. } => {
            matches!(
                **source,
                sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed
            )
        }
        _ => false,
    };
    let full = match error {
        Error::Database { source, .. } => {
            // disk_full of Postgres' error codes.
            source.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "53100")
        }
        _ => false,
    };
    // Not for a retry soon: someone must make room first.
    if full {
        Status::internal("the database's disk is full, so nothing can be written; whoever runs it must make room")
            .into()
    } else if down {
        Status::unavailable("the database does not answer at the moment; try again", 1).into()
    } else {
        Status::internal(&format!("{error}; the server's log says why")).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.0.http_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = self.0.details.as_ref().and_then(|details| details.retry_after_seconds);
        let said = Said(self.0.message.clone());
        let mut response = (code, Json(self.0)).into_response();
        response.extensions_mut().insert(said);
        if code == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"torch-remote\""));
        }
        if let Some(seconds) = retry {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
