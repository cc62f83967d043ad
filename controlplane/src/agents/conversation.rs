//! One Control stream, from hello to its end.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::metadata::MetadataValue;
use torch_remote_api::token::{CONTROL_SECONDS, CONTROL_TYPE, ControlClaims};
use torch_remote_proto::v1::agent_event::Event;
use torch_remote_proto::v1::control_command::Command;
use torch_remote_proto::v1::{AgentEvent, Bind, ControlCommand, ControlHello, ReportSeen, Revoke, SlotState};
use torch_remote_proto::version::{CONTROL_PROTOCOL, MAX_EVENT_BYTES};

use super::refusals::Refusals;
use super::{Shared, Target, connect};
use crate::grpc::control_client::ControlClient;
use crate::reconcile::{self, Work};
use crate::store::slot::{Order, Pending};
use crate::store::{self, Resource, agent, machine};
use crate::telemetry;

/// An order without an answer is given again on the same stream.
const REPEAT: Duration = Duration::from_secs(3);
/// Commands that may wait for an agent that reads slowly.
const COMMANDS: usize = 64;
/// For the call to be answered, and for the agent's hello.
const HELLO: Duration = Duration::from_secs(10);

/// Why a stream is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("could not connect to the agent")]
    Connect(#[source] tonic::transport::Error),
    #[error("could not sign a token for the agent")]
    Sign(#[source] crate::auth::keys::Error),
    #[error("the agent refused or ended the stream")]
    Status(#[source] tonic::Status),
    #[error("the agent closed the stream")]
    Closed,
    #[error("the agent did not say hello within {} s", HELLO.as_secs())]
    NoHello,
    #[error("the agent was silent for {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("what answered is not the agent of this machine: it {0}")]
    Stranger(String),
    #[error("the claim on the machine is not ours any more")]
    NotOurs,
    #[error("the signing keys are others now, and an agent is told them in its hello")]
    KeysChanged,
    #[error("what the agent said could not be written down")]
    Store(#[source] store::Error),
}

/// A stream that is over.
#[derive(Debug)]
pub(super) struct Ended {
    /// The agent had said hello.
    pub(super) greeted: bool,
    pub(super) error: Error,
}

struct Conversation<'a> {
    shared: &'a Shared,
    target: &'a Target,
    commands: mpsc::Sender<ControlCommand>,
    /// Orders given and not answered.
    given: HashMap<(u32, u64, bool), Instant>,
    /// The public keys that the agent was told.
    jwks: serde_json::Value,
    /// Phase and lease of each slot as last heard.
    slots: HashMap<u32, (i32, String)>,
    refusals: Refusals,
}

/// Speaks with the agent until the stream is over.
///
/// # Cancel safety
/// Dropping it ends the stream; whatever was heard is written down or will be said again.
pub(super) async fn converse(shared: &Shared, target: &Target, orders: &mut mpsc::Receiver<Pending>) -> Ended {
    let (commands, outgoing) = mpsc::channel(COMMANDS);
    let jwks = shared.keys.jwks();
    let mut conversation = Conversation {
        shared,
        target,
        commands,
        given: HashMap::new(),
        jwks,
        slots: HashMap::new(),
        refusals: Refusals::default(),
    };
    let mut greeted = false;
    let error = match tokio::time::timeout(HELLO, conversation.open(outgoing)).await {
        Err(_) => Error::NoHello,
        Ok(Err(error)) => error,
        Ok(Ok(events)) => {
            greeted = true;
            conversation.converse(events, orders).await
        }
    };
    Ended { greeted, error }
}

impl Conversation<'_> {
    async fn open(&mut self, outgoing: mpsc::Receiver<ControlCommand>) -> Result<Streaming<AgentEvent>, Error> {
        let keys = &self.shared.keys;
        let channel = connect::channel(&self.target.control).await.map_err(Error::Connect)?;
        let registered = keys.registered("control-plane", self.target.claim.machine.to_string(), CONTROL_SECONDS);
        let claims = ControlClaims { registered, claim: self.target.claim.number.cast_unsigned() };
        let token = keys.sign(CONTROL_TYPE, &claims).map_err(Error::Sign)?;
        let mut request = tonic::Request::new(ReceiverStream::new(outgoing));
        if let Ok(value) = MetadataValue::try_from(format!("Bearer {token}")) {
            request.metadata_mut().insert("authorization", value);
        }
        if let Some(Ok(value)) = telemetry::traceparent().map(MetadataValue::try_from) {
            request.metadata_mut().insert("traceparent", value);
        }
        let hello = ControlHello {
            protocol: CONTROL_PROTOCOL,
            jwks: self.jwks.to_string(),
            issuer: keys.issuer().to_owned(),
            heartbeat_ms: u64::try_from(self.shared.heartbeat.as_millis()).unwrap_or(u64::MAX),
        };
        self.say(Command::Hello(hello)).await?;
        let mut client = ControlClient::new(channel).max_decoding_message_size(MAX_EVENT_BYTES);
        let mut events = client.connect(request).await.map_err(Error::Status)?.into_inner();
        let first = events.message().await.map_err(Error::Status)?.ok_or(Error::Closed)?;
        let Some(Event::Hello(hello)) = first.event else {
            return Err(Error::Stranger("did not begin with hello".to_owned()));
        };
        if hello.machine_uid != self.target.claim.machine.to_string() {
            return Err(Error::Stranger(format!("is that of machine {}", hello.machine_uid)));
        }
        if hello.protocol != CONTROL_PROTOCOL {
            return Err(Error::Stranger(format!(
                "speaks protocol {}, and this control plane {CONTROL_PROTOCOL}: install the same release",
                hello.protocol
            )));
        }
        let held = machine::held(self.shared.objects.pool(), self.target.claim.machine).await.map_err(Error::Store)?;
        let ours = agent::hello(self.shared.objects.pool(), self.target.claim, self.target.attempt, &hello)
            .await
            .map_err(Error::Store)?;
        if !ours {
            return Err(Error::NotOurs);
        }
        tracing::info!(machine = %self.target.machine, boot = hello.boot_id, version = hello.agent_version, "the agent said hello");
        self.note(&hello.slots);
        self.wake_leases(&held.leases);
        self.wake_machine();
        Ok(events)
    }

    async fn converse(&mut self, mut events: Streaming<AgentEvent>, orders: &mut mpsc::Receiver<Pending>) -> Error {
        let patience = self.shared.heartbeat * 5 + Duration::from_secs(5);
        loop {
            let heard = tokio::select! {
                event = tokio::time::timeout(patience, events.message()) => match event {
                    Err(_) => Err(Error::Silent(patience)),
                    Ok(Ok(Some(AgentEvent { event: Some(event) }))) => self.hear(event).await,
                    // An event of a newer protocol.
                    Ok(Ok(Some(AgentEvent { event: None }))) => Ok(()),
                    Ok(Ok(None)) => Err(Error::Closed),
                    Ok(Err(status)) => Err(Error::Status(status)),
                },
                Some(order) = orders.recv() => self.order(order).await,
                () = self.shared.keys.changed(&self.jwks) => Err(Error::KeysChanged),
            };
            if let Err(error) = heard {
                return error;
            }
        }
    }

    async fn order(&mut self, pending: Pending) -> Result<(), Error> {
        let revoke = matches!(pending.order, Order::Revoke { .. });
        let name = (pending.slot, pending.epoch, revoke);
        if self.given.get(&name).is_some_and(|at| at.elapsed() < REPEAT) {
            return Ok(());
        }
        self.given.insert(name, Instant::now());
        let (slot, epoch) = (pending.slot, pending.epoch);
        let command = match pending.order {
            Order::Revoke { reason, message } => Command::Revoke(Revoke { slot, epoch, reason, message, grace_ms: 0 }),
            Order::Bind { lease, terms } => Command::Bind(Bind {
                slot,
                epoch,
                lease_uid: lease.to_string(),
                lease_name: terms.lease,
                holder: terms.holder,
                duration_ms: terms.duration_ms,
                reconnect_window_ms: terms.reconnect_window_ms,
                orphan_ms: terms.orphan_ms,
                resumable: terms.resumable,
                idle_timeout_ms: terms.idle_timeout_ms,
                open_timeout_ms: terms.open_timeout_ms,
                memory_bytes: terms.memory_bytes,
                traceparent: terms.traceparent,
            }),
        };
        self.say(command).await
    }

    async fn hear(&mut self, event: Event) -> Result<(), Error> {
        let (pool, claim) = (self.shared.objects.pool(), self.target.claim);
        match event {
            Event::Hello(_) => return Err(Error::Stranger("said hello twice".to_owned())),
            Event::Pong(_) => {}
            Event::Denied(denied) => self.refusals.tell(&self.shared.trail, &self.target.machine, denied),
            Event::Bound(bound) => {
                self.given.remove(&(bound.slot, bound.epoch, false));
                let waited = agent::bound(pool, claim, &bound).await.map_err(Error::Store)?;
                if let Some((lease, waited)) = waited {
                    metrics::histogram!("torchremote_bind_duration_seconds").record(waited.as_secs_f64());
                    self.wake_leases(&[lease]);
                }
            }
            Event::BindRefused(refused) => {
                self.given.remove(&(refused.slot, refused.epoch, false));
                tracing::warn!(machine = %self.target.machine, slot = refused.slot, epoch = refused.epoch, reason = refused.reason, message = refused.message, "the agent refused a bind");
                let leases = agent::refused(pool, claim, &refused).await.map_err(Error::Store)?;
                self.wake_leases(&leases);
            }
            Event::Released(released) => {
                self.given.remove(&(released.slot, released.epoch, true));
                tracing::info!(machine = %self.target.machine, slot = released.slot, epoch = released.epoch, reason = released.reason, "a slot is released");
                let leases = agent::released(pool, claim, &released).await.map_err(Error::Store)?;
                self.wake_leases(&leases);
                self.shared.wake.wake(Work::Queue);
                self.wake_machine();
            }
            Event::Report(report) => {
                if !agent::report(pool, claim, &report).await.map_err(Error::Store)? {
                    return Err(Error::NotOurs);
                }
                self.say(Command::ReportSeen(ReportSeen { seq: report.seq })).await?;
                if self.note(&report.slots) {
                    let held = machine::held(pool, claim.machine).await.map_err(Error::Store)?;
                    self.wake_leases(&held.leases);
                    self.shared.wake.wake(Work::Queue);
                    self.wake_machine();
                }
            }
        }
        Ok(())
    }

    async fn say(&self, command: Command) -> Result<(), Error> {
        self.commands.send(ControlCommand { command: Some(command) }).await.map_err(|_| Error::Closed)
    }

    /// Remembers the slots; true when a phase or a lease differs.
    fn note(&mut self, slots: &[SlotState]) -> bool {
        let mut news = false;
        for slot in slots {
            let now = (slot.phase, slot.lease_uid.clone());
            news |= self.slots.insert(slot.slot, now.clone()) != Some(now);
        }
        news
    }

    fn wake_machine(&self) {
        self.shared.wake.wake(Work::Machine(self.target.machine.clone()));
    }

    fn wake_leases(&self, leases: &[String]) {
        for key in leases.iter().filter_map(|lease| reconcile::key(Resource::LEASES, lease)) {
            self.shared.wake.wake(Work::Lease(key));
        }
    }
}
