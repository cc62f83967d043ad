//! Watches: one JSON event a line, from the cache, with no statement for each watcher.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::time::{Instant, Interval};
use torch_remote_api::status::Status;

use super::failure::Failure;
use super::objects::Call;
use super::parameters::{Initial, WatchOptions};
use super::render::View;
use super::selection::Selection;
use super::{Server, Watcher};
use crate::auth::Caller;
use crate::store::watch_cache::{Change, Ended, Seen, Subscription};
use crate::store::{Error, List, Resource};

/// Between two bookmarks.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// In the cache, the place of kinds that are not stored: nothing ever changes there.
const STILL: Resource = Resource { group: "", plural: "" };

/// Answers with the changes from where the client stands, until its time is over.
///
/// # Errors
/// [`Failure`], before the first event.
pub async fn watch(call: &Call) -> Result<Response, Failure> {
    let view = View::of(call.kind, &call.headers, &call.parameters)?;
    let options = WatchOptions::parse(&call.parameters)?;
    let selection = Selection::parse(call.kind, call.namespace.clone(), &call.parameters)?;
    let watcher = call.server.admit_watcher(&call.caller)?;
    let opened = open(call, &options).await;
    let subscription = match opened {
        Ok(subscription) => subscription,
        // Clients look for this one inside the stream.
        Err(Error::Expired { version, compacted }) => {
            let gone = event("ERROR", &expired(&Status::too_old(version, compacted)));
            return Ok(response(Body::from(gone)));
        }
        Err(error) => return Err(call.refused(error)),
    };
    Ok(streamed(Watching::new(view, selection, &options, subscription, watcher)))
}

/// Answers with the objects of a kind that does not change while this server runs, and then with bookmarks alone.
///
/// # Errors
/// [`Failure`], before the first event.
pub fn still(
    (server, caller): (&Server, &Caller),
    view: View,
    selection: Selection,
    options: &WatchOptions,
    list: List,
) -> Result<Response, Failure> {
    let watcher = server.admit_watcher(caller)?;
    // Another release may have shown others before this server began.
    if let Some(from) = options.from.filter(|from| *from < server.began() && options.initial != Initial::Marked) {
        return Ok(response(Body::from(event("ERROR", &expired(&Status::too_old(from, server.began()))))));
    }
    let mut subscription = server.cache().subscribe(STILL);
    let wanted = match options.initial {
        Initial::Marked => true,
        Initial::Old => options.from.is_none(),
        Initial::No => false,
    };
    let items = list.items.into_iter().filter(|_| wanted);
    subscription.state = items.map(|object| Arc::new(object.body)).collect();
    subscription.version = subscription.version.max(list.resource_version);
    Ok(streamed(Watching::new(view, selection, options, subscription, watcher)))
}

fn streamed(watching: Watching) -> Response {
    let stream = futures::stream::unfold(watching, |mut watching| async move {
        let frame = watching.next().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), watching))
    });
    response(Body::from_stream(stream))
}

async fn open(call: &Call, options: &WatchOptions) -> Result<Subscription, Error> {
    let cache = call.server.cache();
    match (options.from, options.initial) {
        (Some(from), Initial::Old | Initial::No) => {
            return cache.resume(call.server.objects(), call.resource, from).await;
        }
        (Some(from), Initial::Marked) => cache.reach(from).await?,
        // "Newest" must hold for what another replica has just answered, too.
        (None, _) => cache.reach(call.server.objects().version().await?).await?,
    }
    let mut subscription = cache.subscribe(call.resource);
    if options.initial == Initial::No {
        subscription.state.clear();
    }
    Ok(subscription)
}

fn response(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-cache, private"));
    // Asks proxies not to gather events.
    headers.insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    response
}

struct Watching {
    view: View,
    selection: Selection,
    subscription: Subscription,
    waiting: VecDeque<Waiting>,
    bookmarks: Option<Interval>,
    deadline: Instant,
    first: bool,
    ended: bool,
    watcher: Watcher,
}

/// What is still to be sent before live changes.
enum Waiting {
    State(Arc<Value>),
    Change(Arc<Change>),
    Complete(i64),
}

impl Watching {
    fn new(
        view: View,
        selection: Selection,
        options: &WatchOptions,
        mut subscription: Subscription,
        watcher: Watcher,
    ) -> Self {
        let state = std::mem::take(&mut subscription.state).into_iter().map(Waiting::State);
        let mut waiting: VecDeque<Waiting> = state.collect();
        if options.initial == Initial::Marked {
            waiting.push_back(Waiting::Complete(subscription.version));
        }
        waiting.extend(std::mem::take(&mut subscription.backlog).into_iter().map(Waiting::Change));
        let bookmarks = options.bookmarks.then(|| tokio::time::interval_at(Instant::now() + BOOKMARKS, BOOKMARKS));
        let deadline = Instant::now() + options.timeout;
        Self { view, selection, subscription, waiting, bookmarks, deadline, first: true, ended: false, watcher }
    }

    async fn next(&mut self) -> Option<Bytes> {
        while !self.ended {
            let frame = match self.waiting.pop_front() {
                Some(Waiting::State(object)) => self.selection.accepts(&object).then(|| self.frame("ADDED", &object)),
                Some(Waiting::Change(change)) => self.change(&change),
                Some(Waiting::Complete(version)) => Some(event("BOOKMARK", &self.view.bookmark(version, true))),
                None => self.live().await,
            };
            if frame.is_some() {
                return frame;
            }
        }
        None
    }

    async fn live(&mut self) -> Option<Bytes> {
        let ticks = self.bookmarks.as_mut();
        let tick = async {
            match ticks {
                Some(ticks) => ticks.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.watcher.stopped() => self.end(),
            change = self.subscription.next() => match change {
                Ok(change) => self.change(&change),
                Err(Ended::Lagged) => {
                    metrics::counter!("torchremote_watchers_cut_off_total").increment(1);
                    self.ended = true;
                    None
                }
                Err(Ended::Reset) => {
                    self.ended = true;
                    Some(event("ERROR", &expired(&Status::too_old(self.subscription.version, self.subscription.version + 1))))
                }
            },
            _ = tick => self.bookmark(),
            () = tokio::time::sleep_until(self.deadline) => self.end(),
        }
    }

    /// The last word: a bookmark, so that a client whose objects were quiet does not resume from long ago.
    fn end(&mut self) -> Option<Bytes> {
        self.ended = true;
        self.bookmarks.is_some().then(|| self.bookmark()).flatten()
    }

    fn bookmark(&mut self) -> Option<Bytes> {
        let version = self.subscription.progress()?;
        Some(event("BOOKMARK", &self.view.bookmark(version, false)))
    }

    fn change(&mut self, change: &Change) -> Option<Bytes> {
        let (kind, object) = match change.seen(|body| self.selection.accepts(body))? {
            Seen::Added(object) => ("ADDED", object),
            Seen::Modified(object) => ("MODIFIED", object),
            Seen::Deleted(object) => ("DELETED", object),
        };
        Some(self.frame(kind, &object))
    }

    fn frame(&mut self, kind: &str, object: &Value) -> Bytes {
        let shown = self.view.object(object, self.first);
        self.first = false;
        event(kind, &shown)
    }
}

fn expired(status: &Status) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

fn event(kind: &str, object: &Value) -> Bytes {
    let mut line = json!({"type": kind, "object": object}).to_string();
    line.push('\n');
    line.into()
}
