//! Watches: one JSON event a line, from the cache, with no statement for each watcher.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::Value;
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
use crate::store::{Error, Key, List, Resource, State};

/// Between two bookmarks.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// Bytes sent at once to a watcher for whom much is waiting.
const FRAME: usize = 64 * 1024;
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
    let states = items.map(|object| State::from_body(Key::new(STILL, object.namespace(), object.name()), &object.body));
    subscription.state = states.map(Arc::new).collect();
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
    /// Its time is over, or the server's.
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    first: bool,
    ended: bool,
    _watcher: Watcher,
}

/// What is still to be sent before live changes.
enum Waiting {
    State(Arc<State>),
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
        let (stop, timeout) = (watcher.stop(), options.timeout);
        let over = Box::pin(async move { drop(tokio::time::timeout(timeout, stop.cancelled()).await) });
        Self { view, selection, subscription, waiting, bookmarks, over, first: true, ended: false, _watcher: watcher }
    }

    /// The next events: waits for the first, and takes those that are here already with it.
    async fn next(&mut self) -> Option<Bytes> {
        let mut frame = Vec::new();
        // Asked here too: there may be no end of changes to wait for.
        if !self.ended && self.over.as_mut().now_or_never().is_some() {
            self.end(&mut frame);
        }
        while !self.ended && frame.len() < FRAME {
            match self.waiting.pop_front() {
                Some(Waiting::State(state)) => {
                    if self.selection.accepts(&state) {
                        self.event(&mut frame, "ADDED", &state);
                    }
                }
                Some(Waiting::Change(change)) => self.change(&mut frame, &change),
                Some(Waiting::Complete(version)) => write(&mut frame, "BOOKMARK", &self.view.bookmark(version, true)),
                None => match self.subscription.waiting() {
                    Ok(Some(change)) => self.change(&mut frame, &change),
                    Ok(None) if frame.is_empty() => self.live(&mut frame).await,
                    Ok(None) => break,
                    Err(ended) => self.cut_off(&mut frame, ended),
                },
            }
        }
        (!frame.is_empty()).then(|| frame.into())
    }

    async fn live(&mut self, frame: &mut Vec<u8>) {
        let ticks = self.bookmarks.as_mut();
        let tick = async {
            match ticks {
                Some(ticks) => ticks.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            change = self.subscription.next() => match change {
                Ok(change) => self.change(frame, &change),
                Err(ended) => self.cut_off(frame, ended),
            },
            () = &mut self.over => self.end(frame),
            _ = tick => self.bookmark(frame),
        }
    }

    /// The last word: a bookmark, so that a client whose objects were quiet does not resume from long ago.
    fn end(&mut self, frame: &mut Vec<u8>) {
        self.ended = true;
        if self.bookmarks.is_some() {
            self.bookmark(frame);
        }
    }

    fn cut_off(&mut self, frame: &mut Vec<u8>, ended: Ended) {
        self.ended = true;
        match ended {
            Ended::Lagged => metrics::counter!("torchremote_watchers_cut_off_total").increment(1),
            Ended::Reset => {
                let at = self.subscription.version;
                write(frame, "ERROR", &expired(&Status::too_old(at, at + 1)));
            }
        }
    }

    fn bookmark(&mut self, frame: &mut Vec<u8>) {
        if let Some(version) = self.subscription.progress() {
            write(frame, "BOOKMARK", &self.view.bookmark(version, false));
        }
    }

    fn change(&mut self, frame: &mut Vec<u8>, change: &Change) {
        match change.seen(|state| self.selection.accepts(state)) {
            None => {}
            Some(Seen::Added(state)) => self.event(frame, "ADDED", &state),
            Some(Seen::Modified(state)) => self.event(frame, "MODIFIED", &state),
            Some(Seen::Deleted(state)) => self.event(frame, "DELETED", &state),
        }
    }

    fn event(&mut self, frame: &mut Vec<u8>, kind: &str, state: &State) {
        match self.view.as_stored() {
            true => write_text(frame, kind, state.text()),
            false => write(frame, kind, &self.view.object(&state.body(), self.first)),
        }
        self.first = false;
    }
}

fn expired(status: &Status) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

fn event(kind: &str, object: &Value) -> Bytes {
    let mut frame = Vec::new();
    write(&mut frame, kind, object);
    frame.into()
}

fn write(frame: &mut Vec<u8>, kind: &str, object: &Value) {
    write_text(frame, kind, object.to_string().as_bytes());
}

fn write_text(frame: &mut Vec<u8>, kind: &str, object: &[u8]) {
    for part in [b"{\"type\":\"", kind.as_bytes(), b"\",\"object\":", object, b"}\n"] {
        frame.extend_from_slice(part);
    }
}
