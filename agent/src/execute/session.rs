//! The lease's session: the protocol machine of `torch_remote_proto::server`, driven by streams on one side and the executor's thread on the other.
//!
//! Owns the machine and the streams' senders. Invariant: every input and what follows from it happens under one lock, so that frames leave in the machine's order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, watch};
use tonic::Status;
use torch_remote_agent::clock;
use torch_remote_agent::link::{self, Pulse};
use torch_remote_agent::refusal::{Latest, Refusal};
use torch_remote_agent::token::Verifier;
use torch_remote_api::token::SlotEpoch;
use torch_remote_proto::command::RequestId;
use torch_remote_proto::server::{
    Greeting, Incarnation, Input, Offer, Output, Server, Standing, StreamId, Token, violation_frame,
};
use torch_remote_proto::v1::{Hello, ServerFrame, hello::Credential, reply, server_frame};
use torch_remote_proto::violation::Violation;

use crate::executor::Outlet;
use crate::queue::{Queue, Work, milliseconds};
use crate::transfer::Transfers;

/// Frames to one client.
pub type Frames = mpsc::Sender<Result<ServerFrame, Status>>;
/// Frames that may wait for a client: all replies that the machine keeps, which a resume repeats, and some. One that lets more gather does not read: its stream
/// is cut, and what matters comes again.
pub const FRAMES: usize = (1 << 16) + 1024;

/// Who speaks on a stream.
#[derive(Debug)]
pub struct Client {
    /// Where its frames go.
    pub frames: Frames,
    /// Where it speaks from, as far as its socket says.
    pub peer: Option<SocketAddr>,
}

/// The session of one lease on one slot.
#[derive(Debug)]
pub struct Session {
    state: Mutex<State>,
    /// Woken when replies were seen or their reader changed, while the executor waits for that.
    seen: Condvar,
    /// Work for the executor.
    pub queue: Arc<Queue>,
    /// Bulk bytes.
    pub transfers: Arc<Transfers>,
    /// What the executor counts.
    pub counts: Counts,
    /// The executor's thread has answered a request.
    pub answered: Notify,
    /// Hellos whose credential opened nothing, for the supervisor.
    pub refused: Latest,
    verifier: Mutex<Verifier>,
    lease_uid: String,
    bound: SlotEpoch,
    streams: AtomicU64,
    over: watch::Sender<Option<Over>>,
    changed: watch::Sender<u64>,
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// What the executor's thread counts for others.
#[derive(Debug, Default)]
pub struct Counts {
    /// Live storages.
    pub storages: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Operators run.
    pub operators: AtomicU64,
    /// Highest storage id seen.
    pub highest: AtomicU64,
    /// Device memory in use.
    pub memory_used: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// Gone after a violation.
    server: Option<Server>,
    clients: HashMap<StreamId, Client>,
    opened: Option<Duration>,
    /// The executor's thread waits for replies to be seen.
    waited: bool,
}

/// What a session is made for.
#[derive(Debug)]
pub struct Bound {
    /// Told to each client.
    pub offer: Offer,
    /// This slot and its epoch.
    pub slot: SlotEpoch,
    /// Checks tokens.
    pub verifier: Verifier,
}

/// Ids that batches may name which wait unread when a new process attaches: fewer than the bytes that may wait.
const UNREAD_IDS: u64 = 1 << 26;

impl Session {
    /// Bound, and not opened.
    pub fn new(bound: Bound, queue: Arc<Queue>, transfers: Arc<Transfers>) -> Session {
        let lease_uid = bound.offer.lease_uid.clone();
        Session {
            state: Mutex::new(State {
                server: Some(Server::new(bound.offer)),
                clients: HashMap::new(),
                opened: None,
                waited: false,
            }),
            seen: Condvar::new(),
            queue,
            transfers,
            counts: Counts::default(),
            answered: Notify::new(),
            refused: Latest::default(),
            verifier: Mutex::new(bound.verifier),
            lease_uid,
            bound: bound.slot,
            streams: AtomicU64::new(1),
            over: watch::Sender::new(None),
            changed: watch::Sender::new(0),
        }
    }

    /// Replaces who signs tokens.
    pub fn trust(&self, verifier: Verifier) {
        *self.verifier.lock().unwrap_or_else(PoisonError::into_inner) = verifier;
    }

    /// A new stream's number.
    pub fn stream(&self) -> StreamId {
        StreamId(self.streams.fetch_add(1, Ordering::Relaxed))
    }

    /// A stream's first frame, and whose it is.
    pub fn hello(&self, stream: StreamId, hello: Hello, client: Client) {
        let token = self.check(&hello);
        let next_id = match self.counts.highest.load(Ordering::Acquire) {
            0 => 1,
            highest => highest.saturating_add(UNREAD_IDS),
        };
        let greeting = Greeting { hello, token, fresh_secret: rand::random(), next_id };
        let mut state = self.lock();
        state.clients.insert(stream, client);
        self.step(&mut state, Input::Hello(stream, Box::new(greeting)));
    }

    /// Anything else that happens.
    pub fn input(&self, input: Input) {
        let closed = if let Input::Closed(stream) = &input { Some(*stream) } else { None };
        let mut state = self.lock();
        self.step(&mut state, input);
        if let Some(stream) = closed {
            state.clients.remove(&stream);
        }
    }

    /// The executor found that the client broke the protocol.
    pub fn violated(&self, violation: &Violation) {
        self.break_off(&mut self.lock(), violation);
    }

    /// The device is lost.
    pub fn crashed(&self, message: &str) {
        self.input(Input::End { reason: "Crashed".to_owned(), message: message.to_owned() });
    }

    /// The process whose secret a bulk call shows, if it holds the session.
    pub fn admits(&self, lease_uid: &str, secret: &[u8]) -> Option<Incarnation> {
        let state = self.lock();
        state.server.as_ref().filter(|_| lease_uid == self.lease_uid)?.admits(secret)
    }

    /// Whether frames still go to this stream.
    pub fn serves(&self, stream: StreamId) -> bool {
        self.lock().clients.contains_key(&stream)
    }

    /// Waits while too many replies to this process wait to be seen. Executor's thread.
    fn wait_until_seen(&self, incarnation: Incarnation) {
        let mut state = self.lock();
        while state.server.as_ref().is_some_and(|server| server.replies_full(incarnation)) {
            state.waited = true;
            state = self.seen.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waited = false;
    }

    /// Whether this stream carries the session.
    pub fn carried_by(&self, stream: StreamId) -> bool {
        self.lock().server.as_ref().is_some_and(|server| server.stream() == Some(stream))
    }

    /// Says when the session is over.
    pub fn over(&self) -> watch::Receiver<Option<Over>> {
        self.over.subscribe()
    }

    /// Says when a stream came or went.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How it stands, for the supervisor.
    pub fn pulse(&self) -> Pulse {
        let state = self.lock();
        let standing = state.server.as_ref().map_or(Standing::Ended, Server::standing);
        let (standing, heard, lost) = match standing {
            Standing::Bound | Standing::Ended => (link::Standing::Waiting, Duration::ZERO, Duration::ZERO),
            Standing::Connected { heard } => (link::Standing::Connected, heard, Duration::ZERO),
            Standing::Disconnected { heard, since } => (link::Standing::Disconnected, heard, since),
        };
        Pulse {
            standing,
            now_ms: milliseconds(clock::boot()),
            heard_ms: milliseconds(heard),
            lost_ms: milliseconds(lost),
            active_ms: self.queue.active_ms(),
            busy: self.queue.busy(),
            opened_ms: milliseconds(state.opened.unwrap_or_default()),
            live_storages: self.counts.storages.load(Ordering::Relaxed),
            live_bytes: self.counts.bytes.load(Ordering::Relaxed),
            operators: self.counts.operators.load(Ordering::Relaxed),
            memory_used: self.counts.memory_used.load(Ordering::Relaxed),
        }
    }

    fn check(&self, hello: &Hello) -> Token {
        let token = match &hello.credential {
            Some(Credential::Token(token) | Credential::Attach(token)) => token,
            Some(Credential::Resume(_)) | None => return Token::Absent,
        };
        let verifier = self.verifier.lock().unwrap_or_else(PoisonError::into_inner);
        match verifier.lease(token, &self.lease_uid, self.bound) {
            Ok(claims) => Token::Valid { id: claims.registered.jti, attach: claims.attach },
            Err(error) => Token::Invalid { reason: error.reason().to_owned(), message: error.to_string() },
        }
    }

    fn step(&self, state: &mut State, input: Input) {
        let Some(server) = state.server.take() else { return };
        if state.waited {
            self.seen.notify_all();
        }
        let now = clock::boot();
        let (stream, before) = (server.stream(), server.standing());
        match server.step(input, now) {
            Ok((server, outputs)) => {
                let (carries, after) = (server.stream(), server.standing());
                if !matches!(after, Standing::Bound) && state.opened.is_none() {
                    state.opened = Some(now);
                }
                state.server = Some(server);
                let cut: Vec<StreamId> = outputs.into_iter().filter_map(|output| self.apply(state, output)).collect();
                if stream != carries || std::mem::discriminant(&before) != std::mem::discriminant(&after) {
                    self.changed.send_modify(|changes| *changes += 1);
                }
                for stream in cut {
                    tracing::info!("a client does not read: its stream is cut, and it may resume");
                    state.clients.remove(&stream);
                    self.step(state, Input::Closed(stream));
                }
            }
            Err(violation) => {
                let client = stream.and_then(|stream| state.clients.remove(&stream));
                self.farewell(client, &violation);
            }
        }
    }

    /// Does what the machine says; a stream that has no room for its frame is returned.
    fn apply(&self, state: &mut State, output: Output) -> Option<StreamId> {
        match output {
            Output::Send(stream, frame) => return (!send(state.clients.get(&stream), frame)).then_some(stream),
            Output::Denied(stream, refusal) => {
                tracing::warn!(reason = refusal.reason(), "a hello's credential was refused");
                let peer = state.clients.get(&stream).and_then(|client| client.peer);
                self.refused.note(Refusal::new(refusal.reason(), refusal.to_string(), peer));
            }
            Output::Close(stream) => {
                state.clients.remove(&stream);
            }
            Output::Begin(incarnation) => {
                self.transfers.begin(incarnation.0);
                self.queue.push(Work::Begin(incarnation));
            }
            Output::Run { incarnation, seq, commands } => self.queue.push(Work::Batch { incarnation, seq, commands }),
            Output::TransferDone(transfer) => self.transfers.done(transfer),
            Output::Ended { reason, message } => self.finish(Over { reason, message }),
        }
        None
    }

    fn break_off(&self, state: &mut State, violation: &Violation) {
        self.seen.notify_all();
        let stream = state.server.take().and_then(|server| server.stream());
        let client = stream.and_then(|stream| state.clients.remove(&stream));
        self.farewell(client, violation);
    }

    fn farewell(&self, client: Option<Client>, violation: &Violation) {
        tracing::warn!(reason = violation.reason(), %violation, "the client broke the protocol: its session ends");
        if !send(client.as_ref(), violation_frame(violation)) {
            tracing::debug!("the client does not read why");
        }
        self.finish(Over { reason: violation.reason().to_owned(), message: violation.to_string() });
    }

    fn finish(&self, over: Over) {
        self.over.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(over);
            first
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// False where so many frames wait that the client cannot be reading.
fn send(client: Option<&Client>, frame: server_frame::Frame) -> bool {
    let Some(client) = client else { return true };
    match client.frames.try_send(Ok(ServerFrame { frame: Some(frame) })) {
        Ok(()) => true,
        Err(TrySendError::Closed(_)) => {
            tracing::debug!("a frame found its stream gone; a resume repeats what matters");
            true
        }
        Err(TrySendError::Full(_)) => false,
    }
}

/// Answers of the executor's thread, of one incarnation.
#[derive(Debug)]
pub struct Answers {
    /// Where to.
    pub session: Arc<Session>,
    /// Whose.
    pub incarnation: Incarnation,
}

impl Outlet for Answers {
    fn reply(&mut self, request: RequestId, result: reply::Result) {
        self.session.input(Input::Reply(self.incarnation, request.0, result));
        self.session.answered.notify_one();
        self.session.wait_until_seen(self.incarnation);
    }
}
