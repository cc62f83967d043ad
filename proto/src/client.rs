//! The SDK's end of the conversation, without IO.
//!
//! Owns connecting and reconnecting, which batches are sent again, that each reply is delivered once, keepalives, and when to give up. Leaves sockets,
//! commands and their waiters to the SDK. Invariant: what was submitted reaches an executor that lives exactly once and in order, whatever the connection does.

use std::time::Duration;

use bytes::Bytes;

use crate::history::History;
use crate::v1::{
    self, Goodbye, Hello, KeepAlive, Notice, RepliesSeen, Resume, TransferDone, Welcome, client_frame,
    hello::Credential, reply, server_frame,
};
use crate::version::DATA_PROTOCOL;
use crate::violation::Violation;

mod outage;
mod receipts;

use outage::Outage;
use receipts::Receipts;

/// Between two keepalives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A connection not heard for this long is given up.
pub const DEAD_LINK: Duration = Duration::from_secs(15);
/// A connection and its Welcome are waited for this long.
pub const GREETING: Duration = Duration::from_secs(10);
/// After [`Loss::Closed`] an executor that lives answers within this; else it is dead.
pub const LIFE_SIGN: Duration = Duration::from_secs(3);
/// Ended is waited for this long after Goodbye.
pub const LEAVING: Duration = Duration::from_secs(2);

/// Number of a connection, chosen by the machine; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What the SDK knows before it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name and version, for logs.
    pub client: String,
    /// Version of torch.
    pub torch: String,
    /// The first Welcome is waited for this long.
    pub open_timeout: Duration,
    /// A lost connection is sought again for this long.
    pub reconnect_window: Duration,
}

/// Why a connection is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// It broke, or could not be made; it may come back.
    Broken(String),
    /// The address says that nobody listens: the agent keeps its sockets for its whole life.
    NobodyListens(String),
    /// A process on this host closed it without a word: an executor does so only when it dies. Its socket may go on to take connections that nobody answers.
    Closed(String),
}

/// What happens to the client.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The connection stands, its stream is open.
    Connected(ConnectionId),
    /// A frame came.
    Frame(ConnectionId, server_frame::Frame),
    /// The connection is gone.
    Lost(ConnectionId, Loss),
    /// Whole commands, at most [`crate::codec::MAX_BATCH_BYTES`].
    Submit(Bytes),
    /// The last byte of a ReadBulk is here.
    TransferDone(u64),
    /// The user is done with the lease.
    Goodbye,
    /// [`Client::wake_at`] is reached.
    Tick,
}

/// What the SDK is to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Open a connection. Owed: Connected or Lost.
    Connect(ConnectionId),
    /// Send a frame on it.
    Send(ConnectionId, client_frame::Frame),
    /// Drop it, with what it still holds.
    Disconnect(ConnectionId),
    /// The session is open: ids start at `next_id`, limits are these.
    Opened(Box<Welcome>),
    /// The session goes on over a new connection.
    Resumed,
    /// Batches were acknowledged: [`Client::unacknowledged_bytes`] fell.
    Acknowledged,
    /// The answer to a request; each comes once.
    Reply(u64, reply::Result),
    /// How far an upload has come.
    TransferAck(v1::TransferAck),
    /// To be shown to the user.
    Notice(Notice),
    /// A keepalive went there and back.
    RoundTrip(Duration),
    /// The session is over; nothing follows.
    Over(Ending),
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// CamelCase.
    pub reason: String,
    /// For the user.
    pub message: String,
}

/// The machine.
///
/// ```text
///   Waiting ──Tick──▶ Connecting ──Connected──▶ Greeting ──Welcome──▶ Established
///      ▲                  │ Lost                   │ Lost, Refused(retry)   │ Lost, silence
///      └──────────────────┴────────────────────────┴────────────────────────┘
///   any ──Ended, Refused, window over──▶ Over        Established ──Goodbye──▶ Leaving ──Ended, Lost──▶ Over
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    settings: Settings,
    credential: Held,
    history: History,
    receipts: Receipts,
    last_connection: u64,
    state: State,
}

/// What the next Hello shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// A token that opens.
    Open(String),
    /// A token that takes over.
    Attach(String),
    /// After the first Welcome.
    Resume {
        /// Of the Welcome.
        lease_uid: String,
        /// Of the Welcome.
        secret: Bytes,
    },
}

#[derive(Debug, Clone)]
enum State {
    Waiting { until: Duration, outage: Outage },
    Connecting { connection: ConnectionId, since: Duration, outage: Outage },
    Greeting { connection: ConnectionId, since: Duration, outage: Outage },
    Established(Established),
    Leaving { connection: ConnectionId, since: Duration },
    Over(Ending),
}

#[derive(Debug, Clone)]
struct Established {
    connection: ConnectionId,
    heard: Duration,
    next_keep_alive: Duration,
    asked: Option<(u64, Duration)>,
    nonce: u64,
    /// Failures in a row before this connection, while it has shown nothing but its Welcome.
    attempts: u32,
}

type Step = Result<(Client, Vec<Output>), Violation>;

impl Client {
    /// Begins at `now`: the first tick connects.
    pub fn new(settings: Settings, credential: Held, now: Duration) -> Self {
        Client {
            settings,
            credential,
            history: History::default(),
            receipts: Receipts::default(),
            last_connection: 0,
            state: State::Waiting { until: now, outage: Outage::new(now, 0) },
        }
    }

    /// Bytes of commands sent or to be sent, and not acknowledged.
    pub fn unacknowledged_bytes(&self) -> u64 {
        self.history.bytes()
    }

    /// How it ended, if it did.
    pub fn ending(&self) -> Option<&Ending> {
        match &self.state {
            State::Over(ending) => Some(ending),
            State::Waiting { .. }
            | State::Connecting { .. }
            | State::Greeting { .. }
            | State::Established(_)
            | State::Leaving { .. } => None,
        }
    }

    /// The secret that bulk calls show, once the session is open.
    pub fn secret(&self) -> Option<(&str, &Bytes)> {
        match &self.credential {
            Held::Resume { lease_uid, secret } => Some((lease_uid, secret)),
            Held::Open(_) | Held::Attach(_) => None,
        }
    }

    /// When to call with [`Input::Tick`], if nothing happens before.
    pub fn wake_at(&self) -> Option<Duration> {
        match &self.state {
            State::Waiting { until, .. } => Some(*until),
            State::Connecting { since, outage, .. } | State::Greeting { since, outage, .. } => {
                Some(*since + outage.patience())
            }
            State::Established(established) => Some(established.next_keep_alive.min(established.heard + DEAD_LINK)),
            State::Leaving { since, .. } => Some(*since + LEAVING),
            State::Over(_) => None,
        }
    }

    /// Takes one input at monotonic `now`.
    ///
    /// # Errors
    /// [`Violation`]: the executor broke the protocol; the session is of no use any more.
    pub fn step(mut self, input: Input, now: Duration) -> Step {
        match input {
            Input::Submit(commands) => {
                let outputs = self.submit(commands);
                Ok((self, outputs))
            }
            Input::TransferDone(transfer) => {
                self.receipts.transfer_done(transfer);
                let outputs = self.send(client_frame::Frame::TransferDone(TransferDone { transfer }));
                Ok((self, outputs))
            }
            Input::Connected(connection) => Ok(self.connected(connection, now)),
            Input::Lost(connection, loss) => Ok(self.lost(connection, loss, now)),
            Input::Goodbye => Ok(self.goodbye(now)),
            Input::Tick => Ok(self.tick(now)),
            Input::Frame(connection, frame) => self.frame(connection, frame, now),
        }
    }

    fn submit(&mut self, commands: Bytes) -> Vec<Output> {
        if matches!(self.state, State::Over(_)) {
            return Vec::new();
        }
        let batch = self.history.push(commands);
        self.send(client_frame::Frame::Batch(batch))
    }

    /// Sends if the session is established; batches wait in the history otherwise.
    fn send(&self, frame: client_frame::Frame) -> Vec<Output> {
        match &self.state {
            State::Established(established) => vec![Output::Send(established.connection, frame)],
            State::Waiting { .. }
            | State::Connecting { .. }
            | State::Greeting { .. }
            | State::Leaving { .. }
            | State::Over(_) => Vec::new(),
        }
    }

    fn connected(mut self, connection: ConnectionId, now: Duration) -> (Self, Vec<Output>) {
        match self.state {
            State::Connecting { connection: awaited, outage, .. } if awaited == connection => {
                let credential = match &self.credential {
                    Held::Open(token) => Credential::Token(token.clone()),
                    Held::Attach(token) => Credential::Attach(token.clone()),
                    Held::Resume { lease_uid, secret } => {
                        Credential::Resume(Resume { lease_uid: lease_uid.clone(), secret: secret.clone() })
                    }
                };
                let hello = Hello {
                    protocol: DATA_PROTOCOL,
                    client: self.settings.client.clone(),
                    torch: self.settings.torch.clone(),
                    credential: Some(credential),
                    replies_seen: self.receipts.seen(),
                };
                self.state = State::Greeting { connection, since: now, outage };
                (self, vec![Output::Send(connection, client_frame::Frame::Hello(hello))])
            }
            state @ (State::Waiting { .. }
            | State::Connecting { .. }
            | State::Greeting { .. }
            | State::Established(_)
            | State::Leaving { .. }
            | State::Over(_)) => {
                self.state = state;
                (self, vec![Output::Disconnect(connection)])
            }
        }
    }

    fn lost(mut self, connection: ConnectionId, loss: Loss, now: Duration) -> (Self, Vec<Output>) {
        match self.state {
            State::Connecting { connection: awaited, outage, .. }
            | State::Greeting { connection: awaited, outage, .. }
                if awaited == connection =>
            {
                self.state = State::Waiting { until: now, outage };
                self.wait(loss, now)
            }
            State::Established(established) if established.connection == connection => {
                self.state = State::Waiting { until: now, outage: Outage::new(now, established.attempts) };
                self.wait(loss, now)
            }
            State::Leaving { connection: awaited, .. } if awaited == connection => self.over(released()),
            state @ (State::Waiting { .. }
            | State::Connecting { .. }
            | State::Greeting { .. }
            | State::Established(_)
            | State::Leaving { .. }
            | State::Over(_)) => {
                self.state = state;
                (self, Vec::new())
            }
        }
    }

    /// From Waiting with the outage before this loss: when to try again, or the end.
    fn wait(mut self, loss: Loss, now: Duration) -> (Self, Vec<Output>) {
        let State::Waiting { outage, .. } = self.state else {
            unreachable!("called in Waiting only");
        };
        let window = match &self.credential {
            Held::Open(_) | Held::Attach(_) => self.settings.open_timeout,
            Held::Resume { .. } => self.settings.reconnect_window,
        };
        match outage.after(loss, now, window) {
            Ok((until, outage)) => {
                self.state = State::Waiting { until, outage };
                (self, Vec::new())
            }
            Err(ending) => {
                self.state = State::Over(ending.clone());
                (self, vec![Output::Over(ending)])
            }
        }
    }

    fn over(mut self, ending: Ending) -> (Self, Vec<Output>) {
        let mut outputs: Vec<Output> = self.connection().map(Output::Disconnect).into_iter().collect();
        outputs.push(Output::Over(ending.clone()));
        self.state = State::Over(ending);
        (self, outputs)
    }

    fn connection(&self) -> Option<ConnectionId> {
        match &self.state {
            State::Connecting { connection, .. }
            | State::Greeting { connection, .. }
            | State::Leaving { connection, .. } => Some(*connection),
            State::Established(established) => Some(established.connection),
            State::Waiting { .. } | State::Over(_) => None,
        }
    }

    fn goodbye(mut self, now: Duration) -> (Self, Vec<Output>) {
        match self.state {
            State::Established(established) => {
                let connection = established.connection;
                self.state = State::Leaving { connection, since: now };
                (self, vec![Output::Send(connection, client_frame::Frame::Goodbye(Goodbye {}))])
            }
            State::Waiting { .. } | State::Connecting { .. } | State::Greeting { .. } => self.over(released()),
            state @ (State::Leaving { .. } | State::Over(_)) => {
                self.state = state;
                (self, Vec::new())
            }
        }
    }

    fn tick(mut self, now: Duration) -> (Self, Vec<Output>) {
        match self.state {
            State::Waiting { until, outage } if now >= until => {
                self.last_connection += 1;
                let connection = ConnectionId(self.last_connection);
                self.state = State::Connecting { connection, since: now, outage };
                (self, vec![Output::Connect(connection)])
            }
            State::Connecting { since, ref outage, .. } | State::Greeting { since, ref outage, .. }
                if outage.closed() && now >= since + LIFE_SIGN =>
            {
                let message = "the executor on the machine died, and the memory of its device with it".to_owned();
                self.over(Ending { reason: "ExecutorGone".to_owned(), message })
            }
            State::Connecting { connection, since, .. } | State::Greeting { connection, since, .. }
                if now >= since + GREETING =>
            {
                let loss = Loss::Broken(format!("no answer within {} s", GREETING.as_secs()));
                let (next, mut outputs) = self.lost(connection, loss, now);
                outputs.insert(0, Output::Disconnect(connection));
                (next, outputs)
            }
            State::Established(Established { connection, heard, .. }) if now >= heard + DEAD_LINK => {
                let loss = Loss::Broken(format!("nothing heard for {} s", DEAD_LINK.as_secs()));
                let (next, mut outputs) = self.lost(connection, loss, now);
                outputs.insert(0, Output::Disconnect(connection));
                (next, outputs)
            }
            State::Established(mut established) if now >= established.next_keep_alive => {
                let connection = established.connection;
                established.nonce += 1;
                established.asked = Some((established.nonce, now));
                established.next_keep_alive = now + KEEP_ALIVE;
                let ask = client_frame::Frame::KeepAlive(KeepAlive { nonce: established.nonce });
                self.state = State::Established(established);
                let mut outputs = vec![Output::Send(connection, ask)];
                outputs.extend(self.receipts.say().map(|seq| seen(connection, seq)));
                (self, outputs)
            }
            State::Leaving { since, .. } if now >= since + LEAVING => self.over(released()),
            state @ (State::Waiting { .. }
            | State::Connecting { .. }
            | State::Greeting { .. }
            | State::Established(_)
            | State::Leaving { .. }
            | State::Over(_)) => {
                self.state = state;
                (self, Vec::new())
            }
        }
    }

    fn frame(mut self, connection: ConnectionId, frame: server_frame::Frame, now: Duration) -> Step {
        if self.connection() != Some(connection) {
            return Ok((self, Vec::new()));
        }
        match self.state {
            State::Greeting { outage, .. } => self.greeted(connection, outage, frame, now),
            State::Established(ref mut established) => {
                established.heard = now;
                established.attempts = 0;
                self.established(connection, frame, now)
            }
            State::Leaving { .. } => match frame {
                server_frame::Frame::Ended(_) => Ok(self.over(released())),
                server_frame::Frame::Welcome(_)
                | server_frame::Frame::Refused(_)
                | server_frame::Frame::Received(_)
                | server_frame::Frame::Reply(_)
                | server_frame::Frame::KeepAliveAck(_)
                | server_frame::Frame::Notice(_)
                | server_frame::Frame::TransferAck(_) => Ok((self, Vec::new())),
            },
            State::Waiting { .. } | State::Connecting { .. } | State::Over(_) => {
                Err(Violation::OutOfTurn("a frame before Hello"))
            }
        }
    }

    fn greeted(mut self, connection: ConnectionId, outage: Outage, frame: server_frame::Frame, now: Duration) -> Step {
        match frame {
            server_frame::Frame::Welcome(welcome) => self.welcomed(connection, &outage, welcome, now),
            server_frame::Frame::Refused(refused) if refused.retry_after_ms > 0 => {
                self.state = State::Waiting { until: now, outage };
                let loss = Loss::Broken(format!("{}: {}", refused.reason, refused.message));
                let (mut next, mut outputs) = self.wait(loss, now);
                if let State::Waiting { until, .. } = &mut next.state {
                    *until = now + Duration::from_millis(refused.retry_after_ms);
                }
                outputs.insert(0, Output::Disconnect(connection));
                Ok((next, outputs))
            }
            server_frame::Frame::Refused(refused) => {
                Ok(self.over(Ending { reason: refused.reason, message: refused.message }))
            }
            server_frame::Frame::Ended(ended) => Ok(self.over(Ending { reason: ended.reason, message: ended.message })),
            server_frame::Frame::Received(_) => Err(Violation::OutOfTurn("Received")),
            server_frame::Frame::Reply(_) => Err(Violation::OutOfTurn("Reply")),
            server_frame::Frame::KeepAliveAck(_) => Err(Violation::OutOfTurn("KeepAliveAck")),
            server_frame::Frame::Notice(_) => Err(Violation::OutOfTurn("Notice")),
            server_frame::Frame::TransferAck(_) => Err(Violation::OutOfTurn("TransferAck")),
        }
    }

    fn welcomed(mut self, connection: ConnectionId, outage: &Outage, welcome: Welcome, now: Duration) -> Step {
        let received = welcome.batches_received;
        if received > self.history.made() {
            return Err(Violation::ReceivedAhead { made: self.history.made(), got: received });
        }
        if received < self.history.acknowledged() {
            return Err(Violation::BatchesForgotten { acknowledged: self.history.acknowledged(), got: received });
        }
        let mut outputs = Vec::new();
        match &self.credential {
            Held::Open(_) | Held::Attach(_) => {
                if welcome.resume_secret.len() != 32 {
                    return Err(Violation::BadWelcome("no resume secret"));
                }
                self.credential =
                    Held::Resume { lease_uid: welcome.lease_uid.clone(), secret: welcome.resume_secret.clone() };
                outputs.push(Output::Opened(Box::new(welcome)));
            }
            Held::Resume { lease_uid, .. } => {
                if *lease_uid != welcome.lease_uid {
                    return Err(Violation::BadWelcome("another lease"));
                }
                outputs.push(Output::Resumed);
            }
        }
        self.history.acknowledge(received);
        outputs.push(Output::Acknowledged);
        outputs.extend(
            self.history.unacknowledged().map(|batch| Output::Send(connection, client_frame::Frame::Batch(batch))),
        );
        let done = self.receipts.transfers_done().iter();
        outputs.extend(done.map(|transfer| {
            Output::Send(connection, client_frame::Frame::TransferDone(TransferDone { transfer: *transfer }))
        }));
        self.state = State::Established(Established {
            connection,
            heard: now,
            next_keep_alive: now,
            asked: None,
            nonce: 0,
            attempts: outage.attempts(),
        });
        Ok((self, outputs))
    }

    fn established(mut self, connection: ConnectionId, frame: server_frame::Frame, now: Duration) -> Step {
        let mut outputs = Vec::new();
        match frame {
            server_frame::Frame::Received(received) => {
                if received.seq > self.history.made() {
                    return Err(Violation::ReceivedAhead { made: self.history.made(), got: received.seq });
                }
                self.history.acknowledge(received.seq);
                outputs.push(Output::Acknowledged);
            }
            server_frame::Frame::Reply(reply) => {
                let request = reply.request;
                if let Some(result) = self.receipts.receive(reply)? {
                    outputs.push(Output::Reply(request, result));
                }
                outputs.extend(self.receipts.due().map(|seq| seen(connection, seq)));
            }
            server_frame::Frame::KeepAliveAck(ack) => {
                if let State::Established(Established { asked: Some((nonce, at)), .. }) = &self.state
                    && *nonce == ack.nonce
                {
                    outputs.push(Output::RoundTrip(now.saturating_sub(*at)));
                }
            }
            server_frame::Frame::Notice(notice) => outputs.push(Output::Notice(notice)),
            server_frame::Frame::TransferAck(ack) => outputs.push(Output::TransferAck(ack)),
            server_frame::Frame::Ended(ended) => {
                return Ok(self.over(Ending { reason: ended.reason, message: ended.message }));
            }
            server_frame::Frame::Welcome(_) => return Err(Violation::OutOfTurn("Welcome")),
            server_frame::Frame::Refused(_) => return Err(Violation::OutOfTurn("Refused")),
        }
        Ok((self, outputs))
    }
}

fn seen(connection: ConnectionId, seq: u64) -> Output {
    Output::Send(connection, client_frame::Frame::RepliesSeen(RepliesSeen { seq }))
}

fn released() -> Ending {
    Ending { reason: "Released".to_owned(), message: "the lease was released by this process".to_owned() }
}
