//! The Control service: who may command, and the way of commands to the supervisor.
//!
//! Invariants: a stream is accepted only with a `control+jwt` whose claim number is not lower than any seen; a newer stream ends the older one.

use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use futures::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use torch_remote_proto::v1::{AgentEvent, ControlCommand, control_command::Command};

use crate::refusal::{Latest, Refusal};
use crate::services::control_server::Control;
use crate::socket::Peer;
use crate::token::Verifier;

/// What a Control stream does.
#[derive(Debug)]
pub enum Event {
    /// A stream with a valid token; the answer says whether it is accepted.
    Opened {
        /// Number of the stream, never used twice.
        stream: u64,
        /// Its token's claim number.
        claim: u64,
        /// Where events go.
        events: Events,
        /// Owed.
        answer: oneshot::Sender<Result<(), StaleClaim>>,
    },
    /// A command of an accepted stream.
    Command(u64, Command),
    /// The stream is over.
    Closed(u64),
}

/// A stream of a replica that had the machine before another one.
#[derive(Debug, thiserror::Error)]
#[error("claim {claim} is lower than {seen}, which was seen")]
pub struct StaleClaim {
    /// Its own.
    pub claim: u64,
    /// Of another stream.
    pub seen: u64,
}

/// Where an accepted stream's events go.
pub type Events = mpsc::Sender<Result<AgentEvent, Status>>;

/// The service.
#[derive(Debug)]
pub struct Service {
    verifier: Arc<RwLock<Verifier>>,
    refused: Arc<Latest>,
    supervisor: mpsc::Sender<Event>,
    streams: std::sync::atomic::AtomicU64,
}

/// Events that may wait for a control plane that reads slowly; then its stream is ended, and a new one says everything.
const WAITING: usize = 256;

impl Service {
    /// Hands what it accepts to `supervisor`, and leaves in `refused` what it does not. The verifier's keys are replaced by each hello.
    pub fn new(verifier: Arc<RwLock<Verifier>>, refused: Arc<Latest>, supervisor: mpsc::Sender<Event>) -> Service {
        Service { verifier, refused, supervisor, streams: std::sync::atomic::AtomicU64::new(1) }
    }

    /// The claim of the call's token.
    fn authenticate<T>(&self, request: &Request<T>) -> Result<u64, Refusal> {
        let peer = Peer::of(request).address;
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| Refusal::new("TokenMissing", "the call carries no bearer token", peer))?;
        let verified = self.verifier.read().unwrap_or_else(PoisonError::into_inner).control(token);
        verified.map(|claims| claims.claim).map_err(|error| Refusal::new(error.reason(), error.to_string(), peer))
    }

    fn refuse(&self, code: Code, refusal: Refusal) -> Status {
        tracing::warn!(reason = refusal.reason, "a Control call was refused");
        let status = Status::new(code, format!("{}: {}", refusal.reason, refusal.message));
        self.refused.note(refusal);
        status
    }
}

#[tonic::async_trait]
impl Control for Service {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<AgentEvent, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ControlCommand>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let claim = self.authenticate(&request).map_err(|refusal| self.refuse(Code::Unauthenticated, refusal))?;
        let stream = self.streams.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (events, outgoing) = mpsc::channel(WAITING);
        let (answer, answered) = oneshot::channel();
        let gone = || Status::unavailable("the agent is shutting down");
        self.supervisor.send(Event::Opened { stream, claim, events, answer }).await.map_err(|_| gone())?;
        if let Err(stale) = answered.await.map_err(|_| gone())? {
            let refusal = Refusal::new("StaleClaim", stale.to_string(), Peer::of(&request).address);
            return Err(self.refuse(Code::FailedPrecondition, refusal));
        }
        let supervisor = self.supervisor.clone();
        tokio::spawn(forward(stream, request.into_inner(), supervisor));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

async fn forward(stream: u64, mut commands: Streaming<ControlCommand>, supervisor: mpsc::Sender<Event>) {
    loop {
        let event = match commands.message().await {
            // A command of a newer protocol: what is not known is not done, and nothing else is harmed.
            Ok(Some(ControlCommand { command: None })) => continue,
            Ok(Some(ControlCommand { command: Some(command) })) => Event::Command(stream, command),
            Ok(None) => Event::Closed(stream),
            Err(status) => {
                tracing::debug!(%status, "a Control stream broke");
                Event::Closed(stream)
            }
        };
        let last = matches!(event, Event::Closed(_));
        if supervisor.send(event).await.is_err() || last {
            return;
        }
    }
}
