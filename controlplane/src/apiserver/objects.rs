//! The verbs on stored objects. Each is four steps: the caller is known, parse, store, render.

use axum::body::Body;
use axum::response::Response;
use chrono::Utc;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use torch_remote_api::Kind;
use torch_remote_api::field::FieldError;
use torch_remote_api::managed::{Given, Owners, Writer};
use torch_remote_api::status::Status;

use super::admission::{self, Admitted};
use super::audit::{Made, Record};
use super::delete_options::DeleteOptions;
use super::failure::Failure;
use super::parameters::{Asked, FieldValidation, ListOptions, Parameters};
use super::patch::{self, Patch};
use super::render::{View, answer};
use super::selection::Selection;
use super::{Server, body, lease, preconditions, read, scale, service_account, watch};
use crate::auth::Caller;
use crate::document::Document;
use crate::store::{Deletion, Error, Key, List, Object, Preconditions, Query, Resource, Version, Write};
use crate::telemetry;

/// Names tried for an object that is to have a generated one.
const NAMES: u32 = 8;

/// A call about objects of one kind.
#[derive(Debug)]
pub struct Call {
    /// What it is served by.
    pub server: Server,
    /// Who calls.
    pub caller: Caller,
    /// Its row in the audit; none: it may write nothing.
    pub record: Option<Record>,
    /// The kind.
    pub kind: &'static Kind,
    /// Where it is stored.
    pub resource: Resource,
    /// From the URL.
    pub namespace: Option<String>,
    /// From the URL; empty for the collection.
    pub name: String,
    /// From the URL; empty for the object itself.
    pub subresource: String,
    /// HTTP method.
    pub method: Method,
    /// From the URL.
    pub parameters: Parameters,
    /// HTTP headers.
    pub headers: HeaderMap,
}

impl Call {
    /// Answers the call.
    ///
    /// # Errors
    /// [`Failure`]: what the client is told.
    pub async fn answer(self, body: Body) -> Result<Response, Failure> {
        let collection = self.name.is_empty();
        if self.kind.read_only && self.method != Method::GET {
            return Err(Status::method_not_allowed(self.kind, &self.method.as_str().to_lowercase()).into());
        }
        match (self.method.as_str(), self.subresource.as_str()) {
            ("GET", "") if collection && self.parameters.flag("watch") => watch::watch(&self).await,
            ("GET", "") if collection => read::list(&self).await,
            ("GET", "" | "status") => read::get(&self).await,
            ("POST", "") if collection && (self.namespace.is_some() || !self.kind.namespaced) => {
                self.create(&body::read(body).await?).await
            }
            ("PUT", "" | "status") if !collection => self.update(&body::read(body).await?).await,
            ("PATCH", "" | "status") if !collection => self.patch(&body::read(body).await?).await,
            ("DELETE", "") if collection => self.delete_collection(&body::read(body).await?).await,
            ("DELETE", "") => self.delete(&body::read(body).await?).await,
            ("GET" | "PUT" | "PATCH", "scale") => scale::scale(&self, body).await,
            ("POST", "renew") => lease::renew(&self).await,
            ("POST", "token") if self.resource == Resource::SERVICE_ACCOUNTS => {
                service_account::token(&self, &body::read(body).await?).await
            }
            ("POST", "token") => lease::token(&self, &body::read(body).await?).await,
            _ => Err(Status::method_not_allowed_here().into()),
        }
    }

    /// How Kubernetes calls the parameters of its verb.
    pub(super) fn options(&self) -> &'static str {
        match self.method.as_str() {
            "POST" => "CreateOptions",
            "PUT" => "UpdateOptions",
            "PATCH" => "PatchOptions",
            _ => "DeleteOptions",
        }
    }

    /// The object's place.
    pub fn key(&self) -> Key {
        Key::new(self.resource, self.namespace.clone().unwrap_or_default(), self.name.clone())
    }

    /// What the store refused, in the words of the API.
    pub fn refused(&self, error: Error) -> Failure {
        Failure::store(self.kind, &self.name, error)
    }

    /// Reads a list from the database.
    ///
    /// # Errors
    /// The version asked for is not there, or not any more; the database failed.
    pub(super) async fn find(&self, options: ListOptions, selection: Selection) -> Result<List, Failure> {
        let continued = options.after.is_some();
        let version = match (&options.after, options.asked) {
            (Some(after), _) => Version::Exactly(after.rv),
            (None, Asked::Newest | Asked::Any) => Version::Latest,
            (None, Asked::AtLeast(version)) => Version::AtLeast(version),
            (None, Asked::Exactly(version)) => Version::Exactly(version),
        };
        let query = Query {
            resource: self.resource,
            namespace: selection.namespace.clone(),
            version,
            limit: options.limit,
            after: options.after.map(|after| (after.ns, after.name)),
            filter: (!selection.everything()).then(|| Box::new(move |body: &Value| selection.matches(body)) as _),
            to_delete: self.method == Method::DELETE,
        };
        self.server.objects().query(&query).await.map_err(|error| match error {
            Error::Expired { .. } if continued => Status::continue_expired().into(),
            error => self.refused(error),
        })
    }

    async fn create(&self, bytes: &[u8]) -> Result<Response, Failure> {
        let view = View::of(self.kind, &self.headers, &self.parameters)?;
        let dry_run = self.parameters.dry_run(self.options())?;
        let writer = self.parameters.writer(self.options(), &self.headers)?;
        let Admitted { mut body, mut warnings, .. } = self.admit(body::object(&self.headers, bytes)?)?;
        // Owned is what the client says; what the server adds belongs to nobody. Owners that the body names own nothing of it, as in Kubernetes: against
        // the empty object before it every field is new, and who writes a field takes it from all others.
        let owners = self.writer(&writer).update(Owners::default(), &Value::Null, &body);
        let generated = admission::nameless(&body);
        admission::complete(self.kind, &self.caller, telemetry::traceparent().as_deref(), &mut body)?;
        admission::judge(self.kind, &body, None)?;
        self.may_grant(&body, None)?;
        let mut tries = 1;
        let object = loop {
            let name = body["metadata"]["name"].as_str().unwrap_or("").to_owned();
            let refused = |error| Failure::store(self.kind, &name, error);
            let mut write = self.begin().await?;
            match write.create(self.resource, body.clone()).await {
                Ok(object) => {
                    let object = write.attribute(&object.key(self.resource), owners.encode()).map_err(refused)?;
                    break self.finish(write, object, StatusCode::CREATED, dry_run).await?;
                }
                // Another name by chance is as good.
                Err(Error::AlreadyExists { .. }) if generated && tries < NAMES => {
                    tries += 1;
                    admission::rename(&mut body);
                }
                Err(error) => return Err(refused(error)),
            }
        };
        warnings.extend(self.server.advisor().advise(self.kind, &object.body, None).await);
        let mut response = answer(StatusCode::CREATED, &view.object(&object.body, true), &warnings);
        response.extensions_mut().insert(Made(object.name().to_owned()));
        Ok(response)
    }

    async fn update(&self, bytes: &[u8]) -> Result<Response, Failure> {
        let view = View::of(self.kind, &self.headers, &self.parameters)?;
        let dry_run = self.parameters.dry_run(self.options())?;
        let writer = self.parameters.writer(self.options(), &self.headers)?;
        let Admitted { body, given, mut warnings } = self.admit(body::object(&self.headers, bytes)?)?;
        let named = body["metadata"]["name"].as_str().unwrap_or("");
        if named != self.name {
            return Err(admission::other_name(named, &self.name));
        }
        let mut write = self.begin().await?;
        let old = self.lock(&mut write).await?;
        if !self.kind.group.is_empty() && preconditions::of(&body)?.version.is_none() {
            let wrong = FieldError::invalid("metadata.resourceVersion", json!(0), "must be specified for an update");
            return Err(Status::invalid(self.kind, &self.name, &[wrong]).into());
        }
        let object = self.replace(&mut write, &old, body).await?;
        let object = self.own(&mut write, &old, &object, self.writer(&writer), given)?;
        let object = self.finish(write, object, StatusCode::OK, dry_run).await?;
        warnings.extend(self.server.advisor().advise(self.kind, &object.body, Some(&old.body)).await);
        Ok(answer(StatusCode::OK, &view.object(&object.body, true), &warnings))
    }

    async fn patch(&self, bytes: &[u8]) -> Result<Response, Failure> {
        if body::media_type(&self.headers) == patch::APPLY_PATCH {
            return self.apply(bytes).await;
        }
        let view = View::of(self.kind, &self.headers, &self.parameters)?;
        let dry_run = self.parameters.dry_run(self.options())?;
        let writer = self.parameters.writer(self.options(), &self.headers)?;
        if self.parameters.get("force").is_some() {
            let wrong = FieldError::forbidden("force", "may not be specified for non-apply patch");
            return Err(Failure::invalid_options(self.options(), &[wrong]));
        }
        let (patch, duplicates) = Patch::read(self.kind, &self.headers, bytes)?;
        let mut write = self.begin().await?;
        // Locked, so that a patch without a version never conflicts, however many come at once.
        let old = self.lock(&mut write).await?;
        let patched = patch.apply(&old.body)?;
        for field in ["name", "namespace"] {
            if patched["metadata"][field] != old.body["metadata"][field] {
                let wrong = FieldError::invalid(
                    format!("metadata.{field}"),
                    patched["metadata"][field].clone(),
                    "field is immutable",
                );
                return Err(Status::invalid(self.kind, &self.name, &[wrong]).into());
            }
        }
        if self.parameters.field_validation(self.options())? == FieldValidation::Strict {
            let unknown = self.kind.unknown_fields(&patched);
            if !unknown.is_empty() || !duplicates.is_empty() {
                return Err(patch::strict(bytes, &unknown, &duplicates));
            }
        }
        let Admitted { body, given, mut warnings } = self.admit(Document { value: patched, duplicates })?;
        let object = self.replace(&mut write, &old, body).await?;
        let object = self.own(&mut write, &old, &object, self.writer(&writer), given)?;
        let object = self.finish(write, object, StatusCode::OK, dry_run).await?;
        warnings.extend(self.server.advisor().advise(self.kind, &object.body, Some(&old.body)).await);
        Ok(answer(StatusCode::OK, &view.object(&object.body, true), &warnings))
    }

    async fn delete(&self, bytes: &[u8]) -> Result<Response, Failure> {
        let view = View::of(self.kind, &self.headers, &self.parameters)?;
        let options = DeleteOptions::parse(self, bytes)?;
        admission::may_delete(self.kind, &self.name)?;
        let mut write = self.begin().await?;
        let old = write.lock_to_delete(&self.key()).await.map_err(|error| self.refused(error))?;
        let old = old.ok_or_else(|| Failure::from(Status::not_found(self.kind, &self.name)))?;
        lease::may_change(self, &old)?;
        let deletion = write.delete_as(&self.key(), &options.require, options.propagation).await;
        let deletion = deletion.map_err(|error| self.refused(error))?;
        let body = match deletion {
            Deletion::Removed(object) => {
                self.finish(write, object.clone(), StatusCode::OK, options.dry_run).await?;
                let status = Status::deleted(self.kind, &self.name, object.uid());
                serde_json::to_value(status).map_err(|error| Status::internal(&error.to_string()))?
            }
            Deletion::Marked(object) => {
                let object = self.finish(write, object, StatusCode::OK, options.dry_run).await?;
                view.object(&object.body, true)
            }
        };
        Ok(answer(StatusCode::OK, &body, &[]))
    }

    async fn delete_collection(&self, bytes: &[u8]) -> Result<Response, Failure> {
        let view = View::of(self.kind, &self.headers, &self.parameters)?;
        let options = DeleteOptions::parse(self, bytes)?;
        let selection = Selection::parse(self.kind, self.namespace.clone(), &self.parameters)?;
        let list = self.find(ListOptions::parse(&self.parameters)?, selection).await?;
        // Nothing is deleted unless everything may be.
        for object in &list.items {
            admission::may_delete(self.kind, object.name())?;
            lease::may_change(self, object)?;
        }
        let mut newest = None;
        let deleted = self.delete_each(&list, &options, &mut newest).await;
        // Also of those before the one that could not be deleted.
        self.known(newest).await;
        deleted?;
        Ok(answer(StatusCode::OK, &view.list(&list), &[]))
    }

    /// Deletes one after another, until one cannot be deleted; `newest` is the version of the last.
    async fn delete_each(&self, list: &List, options: &DeleteOptions, newest: &mut Option<i64>) -> Result<(), Failure> {
        for object in &list.items {
            let key = Key::new(self.resource, object.namespace(), object.name());
            let mut write = self.begin().await?;
            let uid = options.require.uid.clone().unwrap_or_else(|| object.uid().to_owned());
            let require = Preconditions { uid: Some(uid), version: options.require.version };
            match write.delete_as(&key, &require, options.propagation).await {
                Ok(_) if options.dry_run => {}
                Ok(_) => *newest = (*newest).max(self.commit(write, object.name(), StatusCode::OK).await?),
                Err(Error::NotFound { .. }) => {}
                Err(Error::OtherUid { .. }) if options.require.uid.is_none() => {}
                Err(error) => return Err(Failure::store(self.kind, object.name(), error)),
            }
        }
        Ok(())
    }

    /// Reads the body's fields as strictly as the caller asks.
    fn admit(&self, document: Document) -> Result<Admitted, Failure> {
        admission::admit(
            self.kind,
            self.namespace.as_deref(),
            document,
            self.parameters.field_validation(self.options())?,
        )
    }

    /// Starts a transaction.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin(&self) -> Result<Write, Failure> {
        self.server.objects().begin().await.map_err(|error| self.refused(error))
    }

    /// The object, locked until the end of the transaction.
    ///
    /// # Errors
    /// 404, or the database failed.
    pub async fn lock(&self, write: &mut Write) -> Result<Object, Failure> {
        let object = write.lock(&self.key()).await.map_err(|error| self.refused(error))?;
        object.ok_or_else(|| Status::not_found(self.kind, &self.name).into())
    }

    /// One who writes as this call does.
    pub(super) fn writer<'a>(&'a self, name: &'a str) -> Writer<'a> {
        Writer { kind: self.kind, name, subresource: &self.subresource, now: Utc::now() }
    }

    /// Notes who owns what after a write that changed `old` to `new`. What a client says of it counts on the object's own path alone; an object
    /// that nobody kept owners of goes on without.
    pub(super) fn own(
        &self,
        write: &mut Write,
        old: &Object,
        new: &Object,
        writer: Writer<'_>,
        given: Given,
    ) -> Result<Object, Failure> {
        let owners = match given {
            Given::Reset if self.subresource.is_empty() => Owners::default(),
            Given::These(owners) if self.subresource.is_empty() => owners,
            _ => Owners::of(&old.body),
        };
        let owners = if owners.is_empty() { owners } else { writer.update(owners, &old.body, &new.body) };
        write.attribute(&self.key(), owners.encode()).map_err(|error| self.refused(error))
    }

    /// Puts the new object, or its status alone, in the place of the old one.
    pub(super) async fn replace(&self, write: &mut Write, old: &Object, mut body: Value) -> Result<Object, Failure> {
        if self.subresource.is_empty() {
            lease::may_change(self, old)?;
        }
        let require = preconditions::of(&body)?;
        admission::keep(self.resource, &old.body, &mut body);
        let replaced = if self.subresource == "status" {
            write.update_status(&self.key(), body["status"].take(), &require).await
        } else {
            write.update(&self.key(), body, &require).await
        };
        let object = replaced.map_err(|error| self.refused(error))?;
        admission::judge(self.kind, &object.body, Some(&old.body))?;
        self.may_grant(&object.body, Some(&old.body))?;
        Ok(object)
    }

    /// Commits, unless nothing is to be kept; the object then has the version it got. The answer will be `code`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish(
        &self,
        write: Write,
        mut object: Object,
        code: StatusCode,
        dry_run: bool,
    ) -> Result<Object, Failure> {
        if dry_run {
            return Ok(object);
        }
        let version = self.commit(write, object.name(), code).await?;
        self.known(version).await;
        if let Some(version) = version {
            object.body["metadata"]["resourceVersion"] = version.to_string().into();
        }
        Ok(object)
    }

    async fn commit(&self, write: Write, name: &str, code: StatusCode) -> Result<Option<i64>, Failure> {
        let Some(record) = &self.record else {
            tracing::error!(kind = self.kind.kind, name, "a write without a row in the audit is refused");
            return Err(Status::internal("the call has no row in the audit, so it may not write").into());
        };
        record.commit(write, code, name).await.map_err(|error| Failure::store(self.kind, name, error))
    }

    /// Waits until this replica judges by a role or a binding of this version: who is told that it has changed may count on it, here and now.
    async fn known(&self, version: Option<i64>) {
        if let Some(version) = version.filter(|_| self.resource.decides())
            && let Err(error) = self.server.cache().reach(version).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a role has changed; this replica is behind and judges by what was before until it has caught up"
            );
        }
    }
}
