//! An agent without executors: speaks Control over a Unix socket as the real one does, and does what the test says.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::Stream;
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};
use torch_remote::grpc::control_server::{Control, ControlServer};
use torch_remote_proto::v1::agent_event::Event;
use torch_remote_proto::v1::control_command::Command;
use torch_remote_proto::v1::{
    AgentEvent, AgentHello, Bind, BindRefused, Bound, ControlCommand, Denied, DeviceState, Endpoint, Released, Report,
    SlotPhase, SlotState, StorageKey, StorageState,
};
use torch_remote_proto::version::CONTROL_PROTOCOL;

/// One agent process, as far as a control plane sees.
#[derive(Clone)]
pub struct Agent(Arc<Inner>);

struct Inner {
    machine_uid: String,
    state: Mutex<State>,
    /// Changes with each life; an older life's connections end.
    life: watch::Sender<u64>,
}

struct State {
    boot: u64,
    slots: Vec<Slot>,
    events: Option<mpsc::Sender<Result<AgentEvent, Status>>>,
    highest_claim: u64,
    /// Does not answer a Bind, save of that slot.
    deaf: bool,
    hears: Option<u32>,
    /// Does not release on a Revoke until told.
    holding: bool,
    sequence: u64,
    full: bool,
    storages: Vec<StorageState>,
    vanished: Vec<StorageKey>,
    /// All that was bound, in order: (slot, epoch, lease).
    pub bound: Vec<(u32, u64, String)>,
    traces: Vec<String>,
    /// The key set of each hello.
    keys: Vec<Value>,
}

#[derive(Clone, Default)]
struct Slot {
    gpu: u32,
    phase: i32,
    epoch: u64,
    lease: String,
    owed: Vec<u64>,
    silent_ms: u64,
}

impl Agent {
    /// Listens on `path` from now on.
    pub fn start(machine_uid: &str, path: &str, gpus: &[u32]) -> Self {
        let slots =
            gpus.iter().map(|gpu| Slot { gpu: *gpu, phase: SlotPhase::Free.into(), ..Slot::default() }).collect();
        let state = State {
            boot: 1,
            slots,
            events: None,
            highest_claim: 0,
            deaf: false,
            hears: None,
            holding: false,
            sequence: 0,
            full: true,
            storages: vec![],
            vanished: vec![],
            bound: vec![],
            traces: vec![],
            keys: vec![],
        };
        let agent = Self(Arc::new(Inner {
            machine_uid: machine_uid.to_owned(),
            state: Mutex::new(state),
            life: watch::Sender::new(1),
        }));
        let listener = UnixListener::bind(path).unwrap();
        let mut life = agent.0.life.subscribe();
        let server = tonic::transport::Server::builder().add_service(ControlServer::new(agent.clone()));
        tokio::spawn(server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move {
            drop(life.wait_for(|life| *life == 0).await);
        }));
        agent
    }

    /// The process is gone.
    pub fn die(&self) {
        self.0.life.send_replace(0);
        self.state().events = None;
    }

    /// The supervisor starts anew: everything is forgotten.
    pub fn reboot(&self) {
        {
            let mut state = self.state();
            state.boot += 1;
            state.highest_claim = 0;
            for slot in &mut state.slots {
                *slot = Slot { gpu: slot.gpu, phase: SlotPhase::Free.into(), ..Slot::default() };
            }
        }
        self.cut();
    }

    /// The connection breaks.
    pub fn cut(&self) {
        self.state().events = None;
        self.0.life.send_modify(|life| *life += 1);
    }

    /// Does not answer a Bind.
    pub fn deaf(&self, yes: bool) {
        self.state().deaf = yes;
    }

    /// Does not answer a Bind, save of this slot.
    pub fn deaf_but(&self, slot: Option<u32>) {
        let mut state = self.state();
        state.deaf = true;
        state.hears = slot;
    }

    /// Keeps processes alive after a Revoke.
    pub fn holding(&self, yes: bool) {
        self.state().holding = yes;
    }

    /// A session opens on the slot.
    pub fn open_session(&self, slot: usize) {
        self.state().slots[slot].phase = SlotPhase::Active.into();
    }

    /// The session's connection is lost since so long.
    pub fn lose_session(&self, slot: usize, seconds: u64) {
        let slot = &mut self.state().slots[slot];
        slot.phase = SlotPhase::Disconnected.into();
        slot.silent_ms = seconds * 1000;
    }

    /// The process of the slot's lease is reaped.
    pub async fn end(&self, slot: u32, reason: &str) {
        let (events, news) = {
            let mut state = self.state();
            let held = &mut state.slots[slot as usize];
            let mut epochs = vec![held.epoch];
            epochs.append(&mut held.owed);
            epochs.dedup();
            let lease_uid = std::mem::take(&mut held.lease);
            held.phase = SlotPhase::Free.into();
            let released = |epoch| Released {
                slot,
                epoch,
                lease_uid: lease_uid.clone(),
                reason: reason.to_owned(),
                message: "as the test says".to_owned(),
            };
            let news: Vec<Event> = epochs.into_iter().map(released).map(Event::Released).collect();
            (state.events.clone(), news)
        };
        for event in news {
            say(&events, event).await;
        }
    }

    /// A credential was refused.
    pub async fn deny(&self, denied: Denied) {
        let events = self.state().events.clone();
        say(&events, Event::Denied(denied)).await;
    }

    /// As [`end`](Self::end), and nobody is told.
    pub fn end_unheard(&self, slot: usize) {
        let mut state = self.state();
        state.slots[slot].lease.clear();
        state.slots[slot].phase = SlotPhase::Free.into();
    }

    /// A storage appears.
    pub fn make_storage(&self, lease: &str, storage: u64, sizes: &[i64], label: &str) {
        let key = Some(StorageKey { lease_uid: lease.to_owned(), storage });
        let bytes = 4 * sizes.iter().product::<i64>().cast_unsigned();
        self.state().storages.push(StorageState {
            key,
            bytes,
            dtype: 6,
            sizes: sizes.to_vec(),
            label: label.to_owned(),
            age_ms: 2000,
        });
    }

    /// A storage vanishes.
    pub fn drop_storage(&self, lease: &str, storage: u64) {
        let key = StorageKey { lease_uid: lease.to_owned(), storage };
        let mut state = self.state();
        state.storages.retain(|state| state.key.as_ref() != Some(&key));
        state.vanished.push(key);
    }

    /// All that was bound.
    pub fn bound(&self) -> Vec<(u32, u64, String)> {
        self.state().bound.clone()
    }

    /// The `traceparent` of all that was bound, in order.
    pub fn traces(&self) -> Vec<String> {
        self.state().traces.clone()
    }

    /// The key sets it was told, in order.
    pub fn keys(&self) -> Vec<Value> {
        self.state().keys.clone()
    }

    /// Claim numbers are not below this.
    pub fn highest_claim(&self) -> u64 {
        self.state().highest_claim
    }

    /// Somebody is connected.
    pub fn connected(&self) -> bool {
        self.state().events.as_ref().is_some_and(|events| !events.is_closed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    async fn command(&self, events: &mpsc::Sender<Result<AgentEvent, Status>>, command: Command) {
        let answers = match command {
            Command::Hello(hello) => {
                self.state().keys.push(serde_json::from_str(&hello.jwks).unwrap());
                vec![Event::Hello(self.hello())]
            }
            Command::Bind(bind) => self.bind(bind),
            Command::Revoke(revoke) => self.revoke(revoke.slot, revoke.epoch),
            Command::ReportSeen(_) | Command::Ping(_) | Command::Shutdown(_) => vec![],
        };
        for answer in answers {
            say(&Some(events.clone()), answer).await;
        }
    }

    fn hello(&self) -> AgentHello {
        let mut state = self.state();
        state.full = true;
        AgentHello {
            protocol: CONTROL_PROTOCOL,
            machine_uid: self.0.machine_uid.clone(),
            boot_id: format!("boot-{}-{}", self.0.machine_uid, state.boot),
            agent_version: "0.1.0".to_owned(),
            torch_version: "2.13.0".to_owned(),
            device: "cpu".to_owned(),
            slots: slots(&state),
            devices: devices(),
        }
    }

    fn bind(&self, bind: Bind) -> Vec<Event> {
        let mut state = self.state();
        if state.deaf && state.hears != Some(bind.slot) {
            return vec![];
        }
        let slot = &mut state.slots[bind.slot as usize];
        let (number, epoch) = (bind.slot, bind.epoch);
        let refuse = |reason: &str| {
            vec![Event::BindRefused(BindRefused {
                slot: number,
                epoch,
                reason: reason.to_owned(),
                message: String::new(),
            })]
        };
        let endpoint =
            |kind: &str, address: String, tls: &str| Endpoint { kind: kind.to_owned(), address, tls: tls.to_owned() };
        let endpoints = vec![
            endpoint("unix", format!("/run/slot-{number}"), "none"),
            endpoint("tcp", format!("gpu.example.org:{}", 7000 + number), "spkiSHA256:AAAA"),
        ];
        let bound = vec![Event::Bound(Bound { slot: number, epoch, lease_uid: bind.lease_uid.clone(), endpoints })];
        if slot.epoch == epoch && slot.lease == bind.lease_uid {
            return bound;
        }
        if epoch <= slot.epoch {
            return refuse("StaleEpoch");
        }
        if !slot.lease.is_empty() {
            return refuse("SlotBusy");
        }
        *slot = Slot {
            gpu: slot.gpu,
            phase: SlotPhase::Bound.into(),
            epoch,
            lease: bind.lease_uid.clone(),
            owed: vec![],
            silent_ms: 0,
        };
        state.bound.push((number, epoch, bind.lease_uid));
        state.traces.push(bind.traceparent);
        bound
    }

    fn revoke(&self, number: u32, epoch: u64) -> Vec<Event> {
        let mut state = self.state();
        let holding = state.holding;
        let slot = &mut state.slots[number as usize];
        let held = !slot.lease.is_empty() && epoch >= slot.epoch;
        if held && holding {
            slot.phase = SlotPhase::Releasing.into();
            slot.owed.push(epoch);
            return vec![];
        }
        let lease_uid = if held { std::mem::take(&mut slot.lease) } else { String::new() };
        if held {
            slot.phase = SlotPhase::Free.into();
        }
        slot.epoch = slot.epoch.max(epoch);
        vec![Event::Released(Released {
            slot: number,
            epoch,
            lease_uid,
            reason: "Revoked".to_owned(),
            message: String::new(),
        })]
    }

    fn report(&self) -> Report {
        let mut state = self.state();
        state.sequence += 1;
        let (full, vanished) = (std::mem::take(&mut state.full), std::mem::take(&mut state.vanished));
        // Differences are not modelled: what is there is said again each time, which must change nothing.
        Report {
            seq: state.sequence,
            full,
            slots: slots(&state),
            devices: devices(),
            appeared: state.storages.clone(),
            vanished,
        }
    }
}

fn slots(state: &State) -> Vec<SlotState> {
    let slot = |(index, slot): (usize, &Slot)| SlotState {
        slot: u32::try_from(index).unwrap(),
        gpu: slot.gpu,
        phase: slot.phase,
        epoch: slot.epoch,
        lease_uid: slot.lease.clone(),
        silent_ms: slot.silent_ms,
        session_started_ms: if slot.phase == i32::from(SlotPhase::Active) { 5 } else { 0 },
        ..SlotState::default()
    };
    state.slots.iter().enumerate().map(slot).collect()
}

fn devices() -> Vec<DeviceState> {
    vec![DeviceState { index: 0, name: "pretend".to_owned(), memory_bytes: 1 << 30, memory_used_bytes: 1 << 20 }]
}

async fn say(events: &Option<mpsc::Sender<Result<AgentEvent, Status>>>, event: Event) {
    if let Some(events) = events {
        drop(events.send(Ok(AgentEvent { event: Some(event) })).await);
    }
}

#[tonic::async_trait]
impl Control for Agent {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<AgentEvent, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ControlCommand>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let header = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let payload = header.split('.').nth(1).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).unwrap_or_default();
        let claims: serde_json::Value =
            serde_json::from_slice(&payload).map_err(|_| Status::unauthenticated("no token"))?;
        if claims["aud"] != self.0.machine_uid.as_str() {
            return Err(Status::unauthenticated("another machine's token"));
        }
        let claim = claims["claim"].as_u64().unwrap_or(0);
        let (events, outgoing) = mpsc::channel(64);
        {
            let mut state = self.state();
            if claim < state.highest_claim {
                return Err(Status::permission_denied("an older claim"));
            }
            state.highest_claim = claim;
            state.events = Some(events.clone());
        }
        let (agent, mut commands, mut life) = (self.clone(), request.into_inner(), self.0.life.subscribe());
        life.mark_unchanged();
        tokio::spawn(async move {
            let mut beats = tokio::time::interval(Duration::from_millis(50));
            let mut greeted = false;
            loop {
                tokio::select! {
                    _ = life.changed() => {
                        drop(events.send(Err(Status::unavailable("cut"))).await);
                        return;
                    }
                    command = commands.message() => match command {
                        Ok(Some(ControlCommand { command: Some(command) })) => {
                            greeted = true;
                            agent.command(&events, command).await;
                        }
                        _ => return,
                    },
                    _ = beats.tick(), if greeted => say(&Some(events.clone()), Event::Report(agent.report())).await,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}
