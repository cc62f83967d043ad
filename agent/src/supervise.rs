//! The supervisor: one per machine. Owns slots, their sockets and processes, and what the control plane is told.
//!
//! Leaves tensors to the executors and decisions about who may lease to the control plane. Invariants: it never links libtorch; a slot's socket stays open for the
//! machine's life; executors die with it; without contact and without a live lease it exits by itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tonic::Status;
use torch_remote_api::agent::AgentConfig;
use torch_remote_proto::v1::{self, AgentEvent, SlotState, agent_event, control_command::Command};
use torch_remote_proto::version::{CONTROL_PROTOCOL, MAX_EVENT_BYTES};

use crate::clock::Clock;
use crate::link::{Configuration, FromExecutor, Keys, Lease, ToExecutor};
use crate::pinned::{self, Identity, Public};
use crate::refusal::Latest;
use crate::services::control_server::ControlServer;
use crate::socket::{self, Listening};
use crate::token::{KeySetError, Verifier};
use crate::traces;

pub mod control;
mod conversation;
pub mod process;
pub mod refusals;
pub mod slot;
pub mod storages;

use process::{Process, Program, Sockets};
use refusals::Refusals;
use slot::{News, Slot};
use storages::Storages;

/// The supervisor cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read.
    #[error("cannot read the agent's configuration {}: it is written by the provider that starts the agent", path.display())]
    Config {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration is no such.
    #[error("the agent's configuration {} does not fit: agent and control plane must be of one version", path.display())]
    ConfigFormat {
        /// File.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The token on the command line is another one.
    #[error("the token on the command line is not that of the configuration: one of them is of another attempt")]
    Token,
    /// No slot, or an unknown device.
    #[error("the agent's configuration asks for {0}")]
    Nonsense(String),
    /// The key set.
    #[error("the agent's configuration has no usable keys")]
    Keys(#[source] KeySetError),
    /// No executor to start.
    #[error("there is no executor at {}: install torch-remote-executor beside the agent, or name it with --executor", path.display())]
    Executor {
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A socket.
    #[error("the agent cannot open its sockets")]
    Socket(#[source] socket::Error),
    /// The key pair for other hosts.
    #[error("the agent cannot listen for other hosts")]
    Identity(#[source] pinned::Error),
    /// Signals, tasks.
    #[error("the agent cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A slot with its socket and process.
#[derive(Debug)]
struct Post {
    gpu: u32,
    listening: Listening,
    /// What other hosts reach, where the machine has an address for them.
    public: Option<Public>,
    slot: Slot,
    /// `namespace/name` of the lease that it served last.
    lease_name: String,
    process: Option<Process>,
    generation: u64,
    /// What the process said of its device.
    device: Option<DeviceReport>,
    /// The last release, said again on each new stream until the slot is bound again.
    last_release: Option<v1::Released>,
}

impl Post {
    /// For an executor.
    fn sockets(&self) -> std::io::Result<Sockets> {
        let public = self.public.as_ref().map(Public::descriptor).transpose()?;
        Ok(Sockets { slot: self.listening.descriptor()?, public })
    }
}

#[derive(Debug, Clone)]
struct DeviceReport {
    torch: String,
    name: String,
    memory_bytes: u64,
}

/// Everything the supervisor owns.
#[derive(Debug)]
struct Supervisor {
    config: AgentConfig,
    program: Program,
    clock: Clock,
    boot_id: String,
    verifier: Arc<RwLock<Verifier>>,
    keys: Keys,
    identity: Option<Identity>,
    posts: Vec<Post>,
    processes: mpsc::Sender<((usize, u64), process::Event)>,
    /// The stream that commands.
    stream: Option<Stream>,
    highest_claim: u64,
    storages: Storages,
    refusals: Refusals,
    /// What the Control service refused.
    refused_control: Arc<Latest>,
    report: u64,
    reported: Duration,
    heartbeat: Duration,
    /// Last word of the control plane, or end of a lease.
    contact: Duration,
}

#[derive(Debug)]
struct Stream {
    number: u64,
    events: control::Events,
    greeted: bool,
}

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// Events of one kind that may wait for the supervisor.
const WAITING: usize = 1024;

/// What the command line says.
#[derive(Debug, Clone)]
pub struct Start {
    /// Configuration file.
    pub config: PathBuf,
    /// Intent token.
    pub token: String,
    /// How executors are started.
    pub program: Program,
}

/// Reads and checks the configuration.
///
/// # Errors
/// [`Error`]: what does not fit.
pub fn read_config(path: &Path, token: &str) -> Result<AgentConfig, Error> {
    let text = std::fs::read(path).map_err(|source| Error::Config { path: path.to_owned(), source })?;
    let config: AgentConfig =
        serde_json::from_slice(&text).map_err(|source| Error::ConfigFormat { path: path.to_owned(), source })?;
    if config.token != token {
        return Err(Error::Token);
    }
    if config.slots.is_empty() {
        return Err(Error::Nonsense("no slots".to_owned()));
    }
    if !matches!(config.device.as_str(), "cpu" | "cuda") {
        return Err(Error::Nonsense(format!("the device {:?}: it must be cpu or cuda", config.device)));
    }
    Ok(config)
}

/// Runs until it is told to end, has no reason to go on, or cannot. Call it on a current-thread runtime: executors die with the thread that starts them.
///
/// # Errors
/// [`Error`]: it cannot start.
pub async fn run(config: AgentConfig, program: Program) -> Result<(), Error> {
    let system = |what| move |source| Error::System { what, source };
    std::fs::metadata(&program.path).map_err(|source| Error::Executor { path: program.path.clone(), source })?;
    let keys = Keys { jwks: config.jwks.clone(), issuer: config.issuer.clone() };
    let verifier = Verifier::new(&keys.jwks, &keys.issuer, &config.machine_uid).map_err(Error::Keys)?;
    let verifier = Arc::new(RwLock::new(verifier));
    let listening = Listening::open(&config.control).map_err(Error::Socket)?;
    let (commands, mut from_control) = mpsc::channel(WAITING);
    let (processes, mut from_processes) = mpsc::channel(WAITING);
    let mut terminate = signal(SignalKind::terminate()).map_err(system("wait for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("wait for signals"))?;
    let mut supervisor = Supervisor::new(config, program, Arc::clone(&verifier), keys, processes)?;
    let service = control::Service::new(verifier, Arc::clone(&supervisor.refused_control), commands);
    let service = ControlServer::new(service).max_encoding_message_size(MAX_EVENT_BYTES);
    let connections = listening.accept().map_err(system("accept Control calls"))?.connections();
    let server = socket::grpc().add_service(service).serve_with_incoming(connections);
    tokio::pin!(server);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tracing::info!(
        machine = supervisor.config.machine,
        slots = supervisor.posts.len(),
        boot = supervisor.boot_id,
        "the agent is up"
    );
    loop {
        // Biased: what processes and the control plane said is heard before the clock judges.
        let end = tokio::select! {
            biased;
            _ = terminate.recv() => Some("SIGTERM".to_owned()),
            _ = interrupt.recv() => Some("SIGINT".to_owned()),
            Some(((index, generation), event)) = from_processes.recv() => {
                supervisor.on_process(index, generation, event);
                None
            }
            Some(event) = from_control.recv() => supervisor.on_control(event),
            result = &mut server => {
                let reason = result.err().map_or_else(String::new, |error| error.to_string());
                Some(format!("the Control service ended {reason}"))
            }
            _ = ticks.tick() => supervisor.tick(),
        };
        if let Some(reason) = end {
            tracing::info!(reason, "the agent ends, and its executors with it");
            supervisor.end(&mut from_processes).await;
            return Ok(());
        }
    }
}

impl Supervisor {
    fn new(
        config: AgentConfig,
        program: Program,
        verifier: Arc<RwLock<Verifier>>,
        keys: Keys,
        processes: mpsc::Sender<((usize, u64), process::Event)>,
    ) -> Result<Supervisor, Error> {
        let clock = Clock::new(config.clock_offset_file.clone().map(PathBuf::from));
        let now = clock.now();
        let identity = config.public_address.is_some().then(Identity::make).transpose().map_err(Error::Identity)?;
        let mut posts = Vec::new();
        let mut first = Vec::new();
        for slot in &config.slots {
            let listening = Listening::open(&slot.listen).map_err(Error::Socket)?;
            let public = config.public_address.as_ref().zip(identity.as_ref());
            let public = public.map(|(address, identity)| Public::open(address, identity)).transpose();
            let public = public.map_err(Error::Socket)?;
            let (machine, outputs) = Slot::new(now);
            posts.push(Post {
                gpu: slot.gpu,
                listening,
                public,
                slot: machine,
                lease_name: String::new(),
                process: None,
                generation: 0,
                device: None,
                last_release: None,
            });
            first.push(outputs);
        }
        let heartbeat = Duration::from_millis(config.heartbeat_ms.max(100));
        let mut supervisor = Supervisor {
            config,
            program,
            clock,
            boot_id: format!("{:032x}", rand::random::<u128>()),
            verifier,
            keys,
            identity,
            posts,
            processes,
            stream: None,
            highest_claim: 0,
            storages: Storages::default(),
            refusals: Refusals::default(),
            refused_control: Arc::default(),
            report: 0,
            reported: now,
            heartbeat,
            contact: now,
        };
        for (index, outputs) in first.into_iter().enumerate() {
            outputs.into_iter().for_each(|output| supervisor.apply(index, output));
        }
        Ok(supervisor)
    }

    fn step(&mut self, index: usize, input: slot::Input) {
        let now = self.clock.now();
        let post = &mut self.posts[index];
        let lease_before = post.slot.lease_uid().to_owned();
        let (slot, outputs) = post.slot.clone().step(input, now);
        post.slot = slot;
        if !lease_before.is_empty() && post.slot.lease_uid() != lease_before {
            self.storages.end(&lease_before);
            self.contact = now;
        }
        outputs.into_iter().for_each(|output| self.apply(index, output));
    }

    fn apply(&mut self, index: usize, output: slot::Output) {
        match output {
            slot::Output::Start => self.start(index),
            slot::Output::Serve(bind) => {
                self.posts[index].last_release = None;
                self.posts[index].lease_name.clone_from(&bind.lease_name);
                let lease = Lease {
                    uid: bind.lease_uid,
                    name: bind.lease_name,
                    epoch: bind.epoch,
                    memory_bytes: bind.memory_bytes,
                    keys: self.keys.clone(),
                    traceparent: bind.traceparent,
                };
                let span = tracing::info_span!("bind", slot = index, epoch = lease.epoch, lease = lease.name);
                traces::continue_from(&span, &lease.traceparent);
                span.in_scope(|| {
                    tracing::info!(trace = lease.traceparent, "bound");
                    self.tell(index, ToExecutor::Bind(lease));
                });
            }
            slot::Output::Notice { reason, message, deadline } => {
                self.tell(
                    index,
                    ToExecutor::Notice { reason: reason.to_owned(), message, deadline_ms: deadline.as_millis() as u64 },
                );
            }
            slot::Output::End { reason, message } => self.tell(index, ToExecutor::End { reason, message }),
            slot::Output::Kill => {
                if let Some(process) = &self.posts[index].process {
                    process.kill();
                }
            }
            slot::Output::Say(news) => self.news(index, news),
        }
    }

    fn start(&mut self, index: usize) {
        let cuda = self.config.device == "cuda";
        let post = &mut self.posts[index];
        post.generation += 1;
        let tag = (index, post.generation);
        let started = post.sockets().and_then(|sockets| {
            Process::start(&self.program, sockets, cuda.then_some(post.gpu), tag, self.processes.clone())
        });
        match started {
            Ok(process) => {
                process.tell(ToExecutor::Configure(Configuration {
                    hears_refusals: true,
                    slot: index as u32,
                    machine_uid: self.config.machine_uid.clone(),
                    cuda,
                    threads: self.config.threads,
                    identity: self.identity.clone(),
                }));
                post.process = Some(process);
            }
            Err(error) => {
                tracing::error!(slot = index, program = %self.program.path.display(), %error, "no executor can be started");
                post.process = None;
                self.step(index, slot::Input::Reaped { status: format!("it cannot be started: {error}") });
            }
        }
    }

    fn tell(&self, index: usize, message: ToExecutor) {
        if let Some(process) = &self.posts[index].process {
            process.tell(message);
        }
    }

    fn on_process(&mut self, index: usize, generation: u64, event: process::Event) {
        if self.posts[index].generation != generation {
            return;
        }
        match event {
            process::Event::Said(FromExecutor::Ready { torch, memory_bytes, name }) => {
                self.posts[index].device = Some(DeviceReport { torch, name, memory_bytes });
                self.step(index, slot::Input::Ready);
            }
            process::Event::Said(FromExecutor::Pulse(pulse)) => self.step(index, slot::Input::Pulse(pulse)),
            process::Event::Said(FromExecutor::Storages { appeared, vanished }) => {
                let lease = self.posts[index].slot.lease_uid().to_owned();
                self.storages.change(&lease, appeared, &vanished);
            }
            process::Event::Said(FromExecutor::Refused(refusal)) => {
                self.refusals.note(Some(index as u32), &self.posts[index].lease_name, refusal, self.clock.now());
            }
            process::Event::Said(FromExecutor::Finished { reason, message }) => {
                tracing::info!(slot = index, reason, message, "a session is over");
                self.step(index, slot::Input::Finished { reason, message });
            }
            process::Event::Reaped(status) => {
                self.posts[index].process = None;
                tracing::info!(slot = index, status, "an executor is reaped");
                self.step(index, slot::Input::Reaped { status });
            }
        }
    }

    fn tick(&mut self) -> Option<String> {
        for index in 0..self.posts.len() {
            self.step(index, slot::Input::Tick);
        }
        let now = self.clock.now();
        if self.stream.as_ref().is_some_and(|stream| stream.greeted)
            && now.saturating_sub(self.reported) >= self.heartbeat
        {
            self.reported = now;
            self.say_report();
        }
        self.say_refusals(now);
        let leased = self.posts.iter().any(|post| post.slot.leased());
        let dead_man = Duration::from_millis(self.config.dead_man_ms);
        let alone = now.saturating_sub(self.contact);
        (!leased && !dead_man.is_zero() && alone >= dead_man)
            .then(|| format!("no contact and no lease for {} s", alone.as_secs()))
    }

    /// Kills all executors and waits until they are reaped.
    async fn end(&mut self, from_processes: &mut mpsc::Receiver<((usize, u64), process::Event)>) {
        for post in &self.posts {
            if let Some(process) = &post.process {
                process.kill();
            }
        }
        let mut left = self.posts.iter().filter(|post| post.process.is_some()).count();
        while left > 0 {
            match tokio::time::timeout(Duration::from_secs(5), from_processes.recv()).await {
                Ok(Some((_, process::Event::Reaped(_)))) => left -= 1,
                Ok(Some((_, process::Event::Said(_)))) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}
