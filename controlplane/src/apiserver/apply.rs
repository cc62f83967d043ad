//! Server-side apply: a configuration is laid over an object, or makes it; who owns which field decides what it may change.
//!
//! Owns the verb. Leaves the rules to [`torch_remote_api::managed`]. Invariant: an apply that says what it said before writes nothing.

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;
use torch_remote_api::field::FieldError;
use torch_remote_api::managed::{Applied, Conflict, Owners};
use torch_remote_api::status::Status;

use super::admission::{self, Admitted};
use super::failure::Failure;
use super::objects::Call;
use super::render::{View, answer};
use super::{body, preconditions};
use crate::store::{Error, Object, Write};
use crate::telemetry;

/// How often an apply that was to make an object looks again, because another made it meanwhile.
const TRIES: usize = 5;

/// What is applied, and how.
struct Configuration {
    writer: String,
    body: Value,
    force: bool,
    dry_run: bool,
}

impl Call {
    /// `PATCH` with `application/apply-patch+yaml`.
    ///
    /// # Errors
    /// 400: the configuration is not one of this object. 422: without `fieldManager`, or the result is not valid. 409: others own what it would
    /// change, or the object is not the one it means.
    pub(super) async fn apply(&self, bytes: &[u8]) -> Result<Response, Failure> {
        let view = View::of(self.kind, &self.headers, &self.parameters)?;
        let (configuration, mut warnings) = self.configuration(bytes)?;
        for _ in 0..TRIES {
            let mut write = self.begin().await?;
            let live = write.lock(&self.key()).await.map_err(|error| self.refused(error))?;
            let (code, object) = match &live {
                Some(live) => (StatusCode::OK, self.lay_over(&mut write, live, &configuration).await?),
                None => match self.make(&mut write, &configuration).await? {
                    Some(object) => (StatusCode::CREATED, object),
                    None => continue,
                },
            };
            let object = self.finish(write, object, code, configuration.dry_run).await?;
            let before = live.as_ref().map(|live| &live.body);
            warnings.extend(self.server.advisor().advise(self.kind, &object.body, before).await);
            return Ok(answer(code, &view.object(&object.body, true), &warnings));
        }
        Err(Status::modified(self.kind, &self.name).into())
    }

    /// What an applier calls itself: it has to say so.
    ///
    /// # Errors
    /// 422: it does not.
    pub(super) fn applier(&self) -> Result<String, Failure> {
        if self.parameters.get("fieldManager").is_none() {
            let missing = FieldError::required("fieldManager", "is required for apply patch");
            return Err(Failure::invalid_options("PatchOptions", &[missing]));
        }
        self.parameters.writer(self.options(), &self.headers)
    }

    fn configuration(&self, bytes: &[u8]) -> Result<(Configuration, Vec<String>), Failure> {
        let writer = self.applier()?;
        let document = body::configuration(bytes)?;
        let (namespace, validation) = (self.namespace.as_deref(), self.parameters.field_validation(self.options())?);
        let Admitted { body, warnings, .. } =
            admission::configuration(self.kind, namespace, &self.name, document, validation)?;
        let (force, dry_run) = (self.parameters.flag("force"), self.parameters.dry_run(self.options())?);
        Ok((Configuration { writer, body, force, dry_run }, warnings))
    }

    async fn lay_over(&self, write: &mut Write, live: &Object, with: &Configuration) -> Result<Object, Failure> {
        let writer = self.writer(&with.writer);
        let before = Owners::of(&live.body);
        let applied = writer.apply(before.clone(), &live.body, &with.body, with.force);
        let Applied { mut object, owners } = applied.map_err(conflicting)?;
        self.kind.default(&mut object);
        admission::drop_empty(&mut object);
        let object = self.replace(write, live, object).await?;
        if object == *live && owners.agree(&before) {
            return Ok(object);
        }
        write.attribute(&self.key(), owners.encode()).map_err(|error| self.refused(error))
    }

    /// `None`: another made it first.
    async fn make(&self, write: &mut Write, with: &Configuration) -> Result<Option<Object>, Failure> {
        if !self.subresource.is_empty() {
            return Err(Status::not_found(self.kind, &self.name).into());
        }
        self.may_make()?;
        if let Some(uid) = preconditions::of(&with.body)?.uid {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Status::conflict(self.kind, &self.name, &why).into());
        }
        if with.body["metadata"]["generateName"].as_str().is_some_and(|prefix| !prefix.is_empty()) {
            let wrong = FieldError::forbidden("metadata.generateName", "an apply names the object it makes");
            return Err(Status::invalid(self.kind, &self.name, &[wrong]).into());
        }
        let applied = self.writer(&with.writer).apply(Owners::default(), &Value::Null, &with.body, with.force);
        let Applied { mut object, owners } = applied.map_err(conflicting)?;
        self.kind.default(&mut object);
        admission::complete(self.kind, &self.caller, telemetry::traceparent().as_deref(), &mut object)?;
        admission::judge(self.kind, &object, None)?;
        self.may_grant(&object, None)?;
        match write.create(self.resource, object).await {
            Ok(_) => write.attribute(&self.key(), owners.encode()).map(Some).map_err(|error| self.refused(error)),
            Err(Error::AlreadyExists { deleting: false, .. }) => Ok(None),
            Err(error) => Err(self.refused(error)),
        }
    }
}

/// 409, with every conflict.
pub(super) fn conflicting(conflicts: Vec<Conflict>) -> Failure {
    let named: Vec<(String, String)> = conflicts.into_iter().map(|conflict| (conflict.owner, conflict.field)).collect();
    Status::apply_conflict(&named).into()
}
