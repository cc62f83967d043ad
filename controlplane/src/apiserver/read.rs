//! Get and list. What the watch cache shows is sent from there, as the text that it is; the database is asked for no more than how new that must be.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use torch_remote_api::status::Status;

use super::failure::Failure;
use super::objects::Call;
use super::parameters::{Asked, ListOptions};
use super::render::{View, answer, answer_text};
use super::selection::Selection;
use crate::store::{Error, List, Object, Resource, State};

/// Part of a kind's objects, of one version.
struct Page {
    states: Vec<Arc<State>>,
    version: i64,
    /// There are more after the last.
    more: bool,
    /// How many; known without selectors only.
    remaining: Option<i64>,
}

/// One object.
///
/// # Errors
/// [`Failure`].
pub async fn get(call: &Call) -> Result<Response, Failure> {
    let view = View::of(call.kind, &call.headers, &call.parameters)?;
    let (objects, key) = (call.server.objects(), call.key());
    let refused = |error| call.refused(error);
    if cached(call.resource) {
        let stored = objects.version_of(&key).await.map_err(refused)?;
        let stored = stored.ok_or_else(|| Status::not_found(call.kind, &call.name))?;
        // One that is newer was written since, and is as good an answer.
        if let Some(state) = call.server.cache().state(&key).filter(|state| state.version() >= stored) {
            return Ok(match view.as_stored() {
                true => answer_text(state.text().clone()),
                false => answer(StatusCode::OK, &view.object(&state.body(), true), &[]),
            });
        }
    }
    let object = objects.get(&key).await.map_err(refused)?;
    let object = object.ok_or_else(|| Status::not_found(call.kind, &call.name))?;
    Ok(answer(StatusCode::OK, &view.object(&object.body, true), &[]))
}

/// A list, or a page of one.
///
/// # Errors
/// [`Failure`].
pub async fn list(call: &Call) -> Result<Response, Failure> {
    let view = View::of(call.kind, &call.headers, &call.parameters)?;
    let options = ListOptions::parse(&call.parameters)?;
    let selection = Selection::parse(call.kind, call.namespace.clone(), &call.parameters)?;
    let Some(page) = page(call, &options, &selection).await? else {
        let list = call.find(options, selection).await?;
        return Ok(answer(StatusCode::OK, &view.list(&list), &[]));
    };
    if view.as_stored() {
        let last = page.states.last().filter(|_| page.more).map(|state| state.key());
        let texts = page.states.iter().map(|state| &state.text()[..]);
        return Ok(answer_text(view.list_text(page.version, last, page.remaining, texts).into()));
    }
    let Page { states, version, more, remaining } = page;
    let items = states.iter().map(|state| Object { body: state.body() }).collect();
    Ok(answer(StatusCode::OK, &view.list(&List { items, resource_version: version, more, remaining }), &[]))
}

/// From the cache, where it shows what is asked for.
async fn page(call: &Call, options: &ListOptions, selection: &Selection) -> Result<Option<Page>, Failure> {
    let (objects, cache) = (call.server.objects(), call.server.cache());
    let (states, version) = match (&options.after, options.asked) {
        _ if !cached(call.resource) => return Ok(None),
        // A listing shows one version throughout: the cache has it while nothing of the kind has changed.
        (Some(after), _) => match cache.states_unchanged_since(call.resource, after.rv) {
            Some(states) => (states, after.rv),
            None => return Ok(None),
        },
        (None, Asked::Any) => cache.states(call.resource),
        (None, Asked::Exactly(_)) => return Ok(None),
        (None, asked) => {
            let newest = objects.version().await.map_err(|error| call.refused(error))?;
            if matches!(asked, Asked::AtLeast(version) if version > newest) {
                return Ok(None);
            }
            match cache.reach(newest).await {
                Ok(()) => cache.states(call.resource),
                // This replica lags behind.
                Err(Error::Future { .. }) => return Ok(None),
                Err(error) => return Err(call.refused(error)),
            }
        }
    };
    // In the order of their places.
    let from = options.after.as_ref().map_or(0, |after| {
        states.partition_point(|state| {
            let key = state.key();
            (key.namespace.as_str(), key.name.as_str()) <= (after.ns.as_str(), after.name.as_str())
        })
    });
    let mut states: Vec<_> = states.into_iter().skip(from).filter(|state| selection.accepts(state)).collect();
    let all = states.len();
    states.truncate(options.limit.unwrap_or(all));
    let more = all > states.len();
    let remaining = (more && selection.everything()).then(|| i64::try_from(all - states.len()).unwrap_or(i64::MAX));
    Ok(Some(Page { states, version, more, remaining }))
}

/// A Secret is opened anew for each who reads it: one that was tampered with must be found out then.
fn cached(resource: Resource) -> bool {
    resource != Resource::SECRETS
}
