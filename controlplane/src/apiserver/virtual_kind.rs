//! Kinds that are only shown: made at each look, of rows of other tables or of what the program knows. Get and list; those that never change can be
//! watched too, for the rest a watch answers 405.

use axum::response::Response;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use torch_remote_api::Kind;
use torch_remote_api::selector::FieldSelector;
use torch_remote_api::status::Status;

use super::failure::Failure;
use super::parameters::{ListOptions, Parameters, WatchOptions};
use super::render::{View, answer};
use super::selection::Selection;
use super::{Server, watch};
use crate::auth::Caller;
use crate::store::{Error, List, Object};

/// Where the objects of a kind without storage come from.
pub trait VirtualKind: Send + Sync {
    /// All objects, of one namespace or of all, in the order of (namespace, name), and the `cluster_rv` of the snapshot they were read in.
    ///
    /// # Errors
    /// The database failed.
    fn list<'a>(&'a self, namespace: Option<&'a str>) -> BoxFuture<'a, Result<List, Error>>;

    /// Part of them, for kinds that have many; else all. What the selector does not take may be among them.
    ///
    /// # Errors
    /// The database failed.
    fn page<'a>(&'a self, page: Page<'a>) -> BoxFuture<'a, Result<Part, Error>> {
        Box::pin(async move { Ok(Part { list: self.list(page.namespace).await?, next: None }) })
    }

    /// The one of that name.
    ///
    /// # Errors
    /// The database failed.
    fn get<'a>(&'a self, namespace: Option<&'a str>, name: &'a str) -> BoxFuture<'a, Result<Option<Object>, Error>> {
        Box::pin(async move { Ok(self.list(namespace).await?.items.into_iter().find(|object| object.name() == name)) })
    }
}

/// Which part of the objects.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page<'a> {
    /// Of one namespace.
    pub namespace: Option<&'a str>,
    /// At most so many.
    pub limit: Option<usize>,
    /// What the page before said is [`next`](Part::next).
    pub after: Option<&'a str>,
    /// Which are wanted; none: all.
    pub fields: Option<&'a FieldSelector>,
}

/// Objects of one page.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Those that were found, perhaps none.
    pub list: List,
    /// The name after which there may be more.
    pub next: Option<String>,
}

/// A call about objects of such a kind.
#[derive(Debug)]
pub struct Look<'a> {
    /// What it is served by.
    pub server: &'a Server,
    /// Who calls.
    pub caller: &'a Caller,
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
        let namespace = self.namespace.as_deref();
        let failed = |error| Failure::store(self.kind, self.name, error);
        if watched {
            let selection = Selection::parse(self.kind, self.namespace.clone(), self.parameters)?;
            let options = WatchOptions::parse(self.parameters)?;
            let list = source.list(namespace).await.map_err(failed)?;
            return watch::still((self.server, self.caller), view, selection, &options, list);
        }
        if !self.name.is_empty() {
            let object = source.get(namespace, self.name).await.map_err(failed)?;
            let object = object.ok_or_else(|| Status::not_found(self.kind, self.name))?;
            return Ok(answer(StatusCode::OK, &view.object(&object.body, true), &[]));
        }
        let options = ListOptions::parse(self.parameters)?;
        let selection = Selection::parse(self.kind, self.namespace.clone(), self.parameters)?;
        let after = options.after.as_ref().map(|after| after.name.as_str());
        let page = Page { namespace, limit: options.limit, after, fields: Some(&selection.fields) };
        let Part { mut list, next } = source.page(page).await.map_err(failed)?;
        list.items.retain(|object| selection.accepts_body(&object.body));
        Ok(answer(StatusCode::OK, &view.list_until(&list, next.as_deref().map(|name| ("", name))), &[]))
    }
}
