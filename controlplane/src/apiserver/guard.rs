//! What stands before every route that is not public: who calls, how often, as whom, and may they? What writes or is refused is audited.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use torch_remote_api::rbac::{Decision, Target};
use torch_remote_api::status::Status;

use super::Server;
use super::asks::{Asked, Asks};
use super::audit::Made;
use super::failure::{Failure, Said};
use super::impersonate::impersonated;
use super::limit::{self, Held, Lane, Place, TooMuch};
use super::parameters::Parameters;
use crate::auth::{Caller, Refused};
use crate::store::audit::Entry;
use crate::telemetry;

/// Longest wait that a refusal names, seconds.
const LONGEST_WAIT: f64 = 60.0;

/// The server, and what each of its routes is about.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) server: Server,
    pub(super) asks: Arc<HashMap<String, Asks>>,
}

/// Lets the call through to its handler, or refuses it.
pub(super) async fn guard(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    // A path that there is not is a path: who may not call it does not learn that.
    let asks = path.and_then(|path| gate.asks.get(&path).copied()).unwrap_or(Asks::Path);
    let asked = Asked::of(asks, &mut request).await;
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    let mut call = Guarded { server: gate.server, entry: entry(&asked, &request, peer), asked, peer, place: None };
    let (caller, reason) = match call.admit(request.headers()).await {
        Ok(admitted) => admitted,
        Err(refusal) => return call.refuse(refusal),
    };
    call.entry.reason = reason;
    request.extensions_mut().insert(caller);
    if !call.asked.writes() {
        let response = next.run(request).await;
        if refused(&response) {
            finish(&mut call.entry, &response);
            call.server.trail().tell(call.entry);
        }
        return response;
    }
    let pending = match call.server.trail().place(call.entry).await {
        Ok(pending) => pending,
        Err(failure) => return failure.into_response(),
    };
    request.extensions_mut().insert(pending.record());
    let response = next.run(request).await;
    pending.done(response.status().is_success(), |entry| finish(entry, &response));
    response
}

struct Guarded {
    server: Server,
    asked: Asked,
    entry: Entry,
    /// Where it comes from.
    peer: Option<SocketAddr>,
    /// Among those that its caller has at once; until it is answered.
    place: Option<Place>,
}

/// A refusal, and whether it is told in the audit: of many in a row only some are.
struct Refusal {
    failure: Failure,
    told: bool,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, told: true }
    }
}

impl Guarded {
    /// Who calls, as whom, and by what it is allowed.
    async fn admit(&mut self, headers: &HeaderMap) -> Result<(Caller, String), Refusal> {
        let caller = self.authenticate(headers).await?;
        tracing::Span::current().record("user", &caller.name);
        self.entry.who.clone_from(&caller.name);
        self.entry.groups.clone_from(&caller.groups);
        let lane = if self.asked.keeps_alive() { Lane::Renewals } else { Lane::Requests };
        if !caller.administrator() {
            let held = if lane == Lane::Renewals { Held::Renewal } else { Held::Request };
            self.place = self.server.limits().hold(held, &caller.name, false);
            if self.place.is_none() {
                return Err(Failure::from(Status::too_many_requests(1)).into());
            }
            self.server
                .limits()
                .take(lane, &caller.name, Instant::now())
                .map_err(|much| too_many(much, &mut self.entry))?;
        }
        let policy = self.server.policies().current();
        let caller = match impersonated(&policy, &caller, headers)? {
            None => caller,
            Some(other) => {
                self.entry.impersonator = Some(std::mem::replace(&mut self.entry.who, other.name.clone()));
                self.entry.groups.clone_from(&other.groups);
                other
            }
        };
        let action = self.asked.action();
        match policy.decide(caller.user(), &action) {
            Decision::Allowed(by) => Ok((caller, by)),
            Decision::Denied(why) => Err(Failure::from(Status::denied(&caller.name, &action, &why)).into()),
        }
    }

    /// Who calls. An address that has called too often without a good token is not looked at for a while, but for tokens that were good lately. Callers on this
    /// machine always are, so that its owner gets in.
    async fn authenticate(&mut self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let credential = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let (server, now) = (self.server.clone(), Instant::now());
        let here = self.peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        // A look at an empty bucket counts as a refusal, so it is last.
        if !here
            && !server.accepted().knows(credential, now)
            && let Err(much) = server.limits().look(Lane::Failures, &self.network(), now)
        {
            return Err(too_many(much, &mut self.entry));
        }
        match server.authenticator().caller(headers).await {
            Ok(caller) => {
                server.accepted().note(credential, Instant::now());
                Ok(caller)
            }
            Err(refused) => Err(self.unauthorized(&refused, credential)),
        }
    }

    fn unauthorized(&mut self, refused: &Refused, credential: &[u8]) -> Refusal {
        metrics::counter!("torchremote_auth_failures_total").increment(1);
        tracing::info!(%refused, path = self.asked.path, "call refused");
        if refused.unjudged() {
            return Failure::unauthorized(refused).into();
        }
        self.server.accepted().forget(credential);
        match self.server.limits().take(Lane::Failures, &self.network(), Instant::now()) {
            Ok(()) => Failure::unauthorized(refused).into(),
            Err(much) => too_many(much, &mut self.entry),
        }
    }

    /// What counts as its address.
    fn network(&self) -> String {
        self.peer.map(|peer| limit::network(peer.ip())).unwrap_or_default()
    }

    fn refuse(mut self, Refusal { failure, told }: Refusal) -> Response {
        let status = failure.status();
        let code = status.http_code();
        if told && matches!(code, 401 | 403 | 429) {
            self.entry.denied = true;
            self.entry.code = code;
            self.entry.reason = format!("{}{}", status.message, self.entry.reason);
            self.server.trail().tell(self.entry);
        }
        failure.into_response()
    }
}

fn too_many(much: TooMuch, entry: &mut Entry) -> Refusal {
    metrics::counter!("torchremote_requests_limited_total").increment(1);
    if let Some(times) = much.tell.filter(|times| *times > 1) {
        entry.reason = format!(" ({times} times since it was told last)");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 60")]
    let seconds = much.retry_after.as_secs_f64().ceil().clamp(1.0, LONGEST_WAIT) as u32;
    Refusal { failure: Status::too_many_requests(seconds).into(), told: much.tell.is_some() }
}

fn entry(asked: &Asked, request: &Request, peer: Option<SocketAddr>) -> Entry {
    // `00-TRACE-SPAN-FLAGS`.
    let trace = telemetry::traceparent().and_then(|text| text.split('-').nth(1).map(str::to_owned));
    // With what was asked beside it: selectors, `dryRun`.
    let path = request.uri().path_and_query().map_or_else(|| asked.path.clone(), ToString::to_string);
    let dry_run = || Parameters::parse(request.uri()).and_then(|parameters| parameters.dry_run(""));
    let mut entry = Entry {
        verb: asked.verb.to_owned(),
        path,
        // A token is given whatever is asked, and is good.
        dry_run: !asked.keeps_alive() && dry_run().unwrap_or(false),
        received: Some(Instant::now()),
        peer: peer.map(|peer| peer.to_string()).unwrap_or_default(),
        trace,
        ..Entry::default()
    };
    if let Target::Resource { group, resource, subresource, namespace, name } = asked.action().target {
        entry.group = group.to_owned();
        entry.resource = resource.to_owned();
        entry.subresource = subresource.to_owned();
        entry.namespace = namespace.to_owned();
        entry.name = name.to_owned();
    }
    entry
}

fn refused(response: &Response) -> bool {
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&response.status())
}

/// What only the answer says: its code, the name that was made, and why a handler refused.
fn finish(entry: &mut Entry, response: &Response) {
    entry.code = response.status().as_u16();
    if let Some(Made(name)) = response.extensions().get::<Made>().filter(|_| entry.name.is_empty()) {
        entry.name.clone_from(name);
    }
    if refused(response) {
        entry.denied = true;
        // Of other failures nothing is kept: their texts may hold what was sent.
        entry.reason = response.extensions().get::<Said>().map(|Said(text)| text.clone()).unwrap_or_default();
    }
}
