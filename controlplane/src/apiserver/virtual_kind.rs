//! Kinds that are only shown: made at each look, of rows of other tables or of what the program knows. Get and list; those that never change can be
//! watched too, for the rest a watch answers 405.

use axum::response::Response;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use torch_remote_api::Kind;
use torch_remote_api::status::Status;

use super::failure::Failure;
use super::parameters::{ListOptions, Parameters, WatchOptions};
use super::render::{View, answer};
use super::selection::Selection;
use super::{Server, watch};
use crate::store::{Error, List};

/// Where the objects of a kind without storage come from.
pub trait VirtualKind: Send + Sync {
    /// All objects, of one namespace or of all, in the order of (namespace, name), and the `cluster_rv` of the snapshot they were read in.
    ///
    /// # Errors
    /// The database failed.
    fn list<'a>(&'a self, namespace: Option<&'a str>) -> BoxFuture<'a, Result<List, Error>>;
}

/// A call about objects of such a kind.
#[derive(Debug)]
pub struct Look<'a> {
    /// What it is served by.
    pub server: &'a Server,
    /// The kind.
    pub kind: &'static Kind,
    /// From the URL.
    pub namespace: Option<String>,
    /// From the URL; empty for the collection.
    pub name: &'a str,
    /// From the URL.
    pub parameters: &'a Parameters,
    /// HTTP headers.
    pub headers: &'a HeaderMap,
}

impl Look<'_> {
    /// Answers the call.
    ///
    /// # Errors
    /// [`Failure`]: what the client is told.
    pub async fn answer(self, method: &Method, source: &dyn VirtualKind) -> Result<Response, Failure> {
        if method != Method::GET {
            return Err(Status::method_not_allowed(self.kind, &method.as_str().to_lowercase()).into());
        }
        let watched = self.parameters.flag("watch") && self.name.is_empty();
        if watched && !self.kind.watchable() {
            return Err(Status::method_not_allowed(self.kind, "watch").into());
        }
        let view = View::of(self.kind, self.headers, self.parameters)?;
        let selection = Selection::parse(self.kind, self.namespace.clone(), self.parameters)?;
        let options = watched.then(|| WatchOptions::parse(self.parameters)).transpose()?;
        if options.is_none() {
            ListOptions::parse(self.parameters)?;
        }
        let list = source.list(self.namespace.as_deref()).await;
        let mut list = list.map_err(|error| Failure::store(self.kind, self.name, error))?;
        if let Some(options) = options {
            return watch::still(self.server, view, selection, &options, list);
        }
        if self.name.is_empty() {
            list.items.retain(|object| selection.accepts(&object.body));
            return Ok(answer(StatusCode::OK, &view.list(&list), &[]));
        }
        let object = list.items.iter().find(|object| object.name() == self.name);
        let object = object.ok_or_else(|| Status::not_found(self.kind, self.name))?;
        Ok(answer(StatusCode::OK, &view.object(&object.body, true), &[]))
    }
}
